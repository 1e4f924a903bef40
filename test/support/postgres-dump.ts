import pg from "pg";

/** Every row of every table of a database, as text; bytes in hexadecimal, as `pg_dump` writes them. */
export async function dumpPostgres(url: string): Promise<string> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 10_000 });
  await client.connect();
  try {
    const { rows: tables } = await client.query<{ name: string }>(
      `select format('%I.%I', table_schema, table_name) as name from information_schema.tables
       where table_type = 'BASE TABLE' and table_schema not in ('pg_catalog', 'information_schema')`,
    );
    if (tables.length === 0) return "";
    const each = tables.map(({ name }) => `select '${name}' as name, row::text as text from ${name} as row`);
    const { rows } = await client.query<{ name: string; text: string }>(each.join(" union all "));
    return rows.map(({ name, text }) => `${name} ${text}`).join("\n");
  } finally {
    await client.end();
  }
}

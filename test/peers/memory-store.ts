interface Payload {
  grantId?: string;
  uid?: string;
  userCode?: string;
  accountId?: string;
  consumed?: number;
}

interface Entry {
  payload: Payload;
  /** Milliseconds since the epoch. */
  expiresAt: number;
}

/** One model's view of the storage, in the shape `oidc-provider` asks of an adapter. */
interface Adapter {
  upsert(id: string, payload: Payload, expiresIn?: number): Promise<void>;
  find(id: string): Promise<Payload | undefined>;
  findByUid(uid: string): Promise<Payload | undefined>;
  findByUserCode(userCode: string): Promise<Payload | undefined>;
  consume(id: string): Promise<void>;
  destroy(id: string): Promise<void>;
  revokeByGrantId(grantId: string): Promise<void>;
}

/**
 * What one authorization server remembers. The package's own in-memory adapter is shared by every server of the
 * process and forgets beyond a thousand entries.
 */
export class MemoryStore {
  readonly #entries = new Map<string, Entry>();

  adapter = (model: string): Adapter => {
    const entries = this.#entries;
    const keyOf = (id: string): string => `${model}:${id}`;
    const find = async (id: string): Promise<Payload | undefined> => {
      const entry = entries.get(keyOf(id));
      return entry && entry.expiresAt > Date.now() ? entry.payload : undefined;
    };
    const findWhere = (fits: (payload: Payload) => boolean): Payload | undefined => {
      for (const [key, { payload }] of entries)
        if (key.startsWith(`${model}:`) && fits(payload)) return payload;
      return undefined;
    };
    return {
      find,
      async upsert(id, payload, expiresIn) {
        const expiresAt = expiresIn === undefined ? Number.POSITIVE_INFINITY : Date.now() + expiresIn * 1000;
        entries.set(keyOf(id), { payload, expiresAt });
      },
      findByUid: async (uid) => findWhere((payload) => payload.uid === uid),
      findByUserCode: async (userCode) => findWhere((payload) => payload.userCode === userCode),
      async consume(id) {
        const entry = entries.get(keyOf(id));
        if (entry) entry.payload.consumed = Math.floor(Date.now() / 1000);
      },
      async destroy(id) {
        entries.delete(keyOf(id));
      },
      async revokeByGrantId(grantId) {
        for (const [key, { payload }] of entries) {
          // Of one grant, each model's own tokens: the provider asks every model in turn.
          if (key.startsWith(`${model}:`) && payload.grantId === grantId) entries.delete(key);
        }
      },
    };
  };

  /** Forgets everything of these models, for example "RefreshToken". */
  forget(...models: string[]): void {
    for (const key of this.#entries.keys()) {
      if (models.some((model) => key.startsWith(`${model}:`))) this.#entries.delete(key);
    }
  }
}

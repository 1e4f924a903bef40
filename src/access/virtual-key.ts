/** One upstream a key may use, and its tools there (original names, `["*"]` is all). */
export interface KeyConfig {
  upstreamId: string;
  tools: readonly string[];
}

/** A virtual key without its value, which is stored nowhere. Times in milliseconds since 1970. */
export interface VirtualKey {
  id: string;
  name: string;
  description: string;
  /** The last four characters of the value. */
  valueTail: string;
  isActive: boolean;
  expiresAt?: number;
  /** A key that belongs to a user acts as that user; never changes. */
  userId?: string;
  /** Whether that user may act now; true for a key of nobody. */
  isOwnerActive: boolean;
  configs: readonly KeyConfig[];
  source: "api" | "file";
  createdAt: number;
  updatedAt: number;
}

export const keyPrefix = "sk-bf-";

/** What presenting a value comes to. */
export type KeyAnswer =
  | { ok: true; key: VirtualKey }
  | { ok: false; reason: "unknown" | "inactive" | "expired" };

/** Whether a key counts at `now` (milliseconds). */
export function judge(key: VirtualKey | undefined, now: number): KeyAnswer {
  if (!key) return { ok: false, reason: "unknown" };
  if (!key.isActive || !key.isOwnerActive) return { ok: false, reason: "inactive" };
  if (key.expiresAt !== undefined && key.expiresAt <= now) return { ok: false, reason: "expired" };
  return { ok: true, key };
}

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
  /** After a rotation: until when the value before it counts as well. */
  previousValueExpiresAt?: number;
  /** The configuration file names the value, so only the file changes it. */
  hasFixedValue: boolean;
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

/** A key as somebody presented it. `endsAt`: the value is the one before a rotation and counts until then. */
export interface PresentedKey {
  key: VirtualKey;
  endsAt?: number;
}

/** What presenting a value comes to. `endsAt`: the value stops counting before the key does. */
export type KeyAnswer =
  | { ok: true; key: VirtualKey; endsAt?: number }
  | { ok: false; reason: "unknown" | "inactive" | "expired" };

/** Whether a key counts at `now` (milliseconds). */
export function judge(key: VirtualKey | undefined, now: number): KeyAnswer {
  if (!key) return { ok: false, reason: "unknown" };
  if (!key.isActive || !key.isOwnerActive) return { ok: false, reason: "inactive" };
  if (key.expiresAt !== undefined && key.expiresAt <= now) return { ok: false, reason: "expired" };
  return { ok: true, key };
}

/** Whether a presented value counts at `now`: the key does, and the value has not been rotated away. */
export function judgePresented(presented: PresentedKey | undefined, now: number): KeyAnswer {
  if (presented?.endsAt !== undefined && presented.endsAt <= now) return { ok: false, reason: "unknown" };
  const answer = judge(presented?.key, now);
  return answer.ok && presented?.endsAt !== undefined ? { ...answer, endsAt: presented.endsAt } : answer;
}

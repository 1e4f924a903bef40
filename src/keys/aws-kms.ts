import type { KMSClient } from "@aws-sdk/client-kms";
import { type Patience, patiently, usualPatience } from "./patience.ts";
import { type KeyProvider, KeyProviderDown, refused, type Wrapped, type WrappedFor } from "./provider.ts";

export interface AwsKmsOptions {
  /** Its ARN, id or alias. Best the ARN: an alias must go on pointing to this key. */
  key: string;
  /** Where the environment or the AWS profile says nothing. */
  region?: string;
  /** Another address of the service. */
  address?: string;
}

/** What an operator can do about each, by the name of the error. Any other is one of the network or the service. */
const refusals: Record<string, string> = {
  AccessDeniedException: "permission denied. The policy must allow kms:Encrypt and kms:Decrypt on this key.",
  DisabledException: "the key is disabled. Enable it again.",
  KMSInvalidStateException: "the key is disabled or about to be deleted.",
  NotFoundException: "there is no such key. Check key and region.",
  IncorrectKeyException: "another key wrapped the data keys of this database. Name that one as well.",
  InvalidCiphertextException:
    "something else was wrapped: the table data_keys belongs to another instance, or is damaged.",
  InvalidKeyUsageException: "the key is not for encryption. It must be a symmetric key for ENCRYPT_DECRYPT.",
  InvalidArnException: "this is not the ARN of a key.",
  ValidationException: "this is not the name of a key.",
  UnrecognizedClientException: "AWS does not know the credentials.",
  InvalidClientTokenId: "AWS does not know the credentials.",
  IncompleteSignatureException: "AWS does not accept the credentials.",
  InvalidSignatureException:
    "AWS does not accept the credentials. Check them, and the clock of this machine.",
  SignatureDoesNotMatch: "AWS does not accept the credentials.",
  ExpiredTokenException: "the AWS credentials have expired.",
  CredentialsProviderError: "there are no AWS credentials. Set them as for any AWS tool.",
};

/** AWS Key Management Service. Credentials come from where every AWS tool takes them. */
export function awsKms(options: AwsKmsOptions, patience: Patience = usualPatience): KeyProvider {
  return new AwsKms(options, patience);
}

class AwsKms implements KeyProvider {
  readonly type = "aws_kms";
  readonly older = [];
  readonly key: string;
  readonly #options: AwsKmsOptions;
  readonly #patience: Patience;
  #client: KMSClient | undefined;

  constructor(options: AwsKmsOptions, patience: Patience) {
    this.key = options.key;
    this.#options = options;
    this.#patience = patience;
  }

  unwraps(by: string): boolean {
    return by === this.key;
  }

  wrap(key: Uint8Array, about: WrappedFor): Promise<Wrapped> {
    return this.#ask(async (client, { EncryptCommand }) => {
      const command = new EncryptCommand({
        KeyId: this.key,
        Plaintext: key,
        EncryptionContext: boundTo(about),
      });
      const { CiphertextBlob: bytes } = await client.send(command);
      if (!bytes) throw this.#down("its answer holds no ciphertext");
      return { bytes, by: this.key };
    });
  }

  unwrap({ bytes }: Wrapped, about: WrappedFor): Promise<Uint8Array> {
    return this.#ask(async (client, { DecryptCommand }) => {
      const command = new DecryptCommand({
        KeyId: this.key,
        CiphertextBlob: bytes,
        EncryptionContext: boundTo(about),
      });
      const { Plaintext: plaintext } = await client.send(command);
      if (!plaintext) throw this.#down("its answer holds no plaintext");
      return plaintext;
    });
  }

  async close(): Promise<void> {
    this.#client?.destroy();
  }

  #ask<T>(work: (client: KMSClient, sdk: typeof import("@aws-sdk/client-kms")) => Promise<T>): Promise<T> {
    return patiently(this.#patience, async () => {
      // Loaded here, so that it costs nothing where it is not used.
      const sdk = await import("@aws-sdk/client-kms");
      this.#client ??= new sdk.KMSClient({
        region: this.#options.region,
        endpoint: this.#options.address,
        maxAttempts: 1,
        requestHandler: {
          connectionTimeout: this.#patience.timeoutMs,
          requestTimeout: this.#patience.timeoutMs,
          // Else it only warns.
          throwOnRequestTimeout: true,
        },
      });
      try {
        return await work(this.#client, sdk);
      } catch (error) {
        throw this.#failure(error);
      }
    });
  }

  #failure(error: unknown): unknown {
    if (error instanceof KeyProviderDown || !(error instanceof Error)) return error;
    if (error.message === "Region is missing")
      return refused("AWS KMS", this.key, "no region is known. Set region, or AWS_REGION.");
    // Not what the service says in its own words: it may repeat what it was sent.
    const why = refusals[error.name];
    return why
      ? refused("AWS KMS", this.key, why)
      : this.#down(`the service or the way to it failed (${error.name})`);
  }

  #down(why: string): KeyProviderDown {
    return new KeyProviderDown(`AWS KMS cannot be asked for the key ${this.key}: ${why}.`);
  }
}

/** Authenticated with what is wrapped, shown in CloudTrail, and fit for conditions in a key policy. */
function boundTo({ dataKeyId, instanceId }: WrappedFor): Record<string, string> {
  return { "postern:instance": instanceId, "postern:data_key": dataKeyId };
}

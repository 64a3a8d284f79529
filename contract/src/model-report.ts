/** What the pod says of its model on the control port. */
export interface ModelReport {
  readonly name: string;
  readonly version: string;
  /** `sha256:` and 64 hexadecimal digits: of the bytes that were really loaded. */
  readonly digest: string;
}

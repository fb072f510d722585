export interface MicroResult {
  readonly name: string;
  readonly us: number;
  readonly boundUs: number | null;
}

export function runMicro(_say: (text: string) => void): MicroResult[] {
  return [];
}

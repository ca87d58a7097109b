// Every SQLSTATE that PostgreSQL 14 to 18 lists in its errcodes.txt, by the class of failure that it is here.

import type { FailureClass } from '../../shared/resilience/classify-failure.ts'

/** The codes of all five versions together; the class is what the bare code means, without any message. */
export const sqlStatesByClass: ReadonlyArray<readonly [FailureClass, string]> = [
  ['unknown', '00000 01000 01003 01004 01006 01007 01008 0100C 01P01 02000 02001 03000'],
  ['connection', '08000 08001 08003 08004 08006 08007 40003'],
  ['bug', '08P01'],
  [
    'schema',
    '09000 0A000 0F000 0F001 0Z000 0Z002 10608 20000 27000 2B000 2BP01 2F000 2F002 2F003 2F004 2F005 38000 38001 38002 38003 38004 39000 39001 39004 39P01 39P02 39P03 42000 42601 42602 42611 42622 42701 42702 42703 42704 42710 42712 42723 42725 42803 42804 42809 42830 42846 42883 428C9 42939 42P01 42P02 42P03 42P04 42P06 42P07 42P08 42P09 42P10 42P11 42P12 42P13 42P14 42P15 42P16 42P17 42P18 42P19 42P20 42P21 42P22 44000 55P04 HV000 HV001 HV002 HV004 HV005 HV006 HV007 HV008 HV009 HV00A HV00B HV00C HV00D HV00J HV00K HV00L HV00M HV00N HV00P HV00Q HV00R HV010 HV014 HV021 HV024 HV090 HV091 P0000 P0001 P0002 P0003 P0004',
  ],
  [
    'session',
    '0B000 24000 25000 25001 25002 25003 25004 25005 25007 25008 25P01 25P02 25P03 26000 2D000 34000 3B000 3B001 42P05 55000 55006 57P05 72000',
  ],
  ['permission', '0L000 0LP01 42501'],
  ['config', '0P000 28000 28P01 3D000 3F000 55P02 57P04'],
  [
    'data',
    '21000 22000 22001 22002 22003 22004 22005 22007 22008 22009 2200B 2200C 2200D 2200F 2200G 2200H 2200L 2200M 2200N 2200S 2200T 22010 22011 22012 22013 22014 22015 22016 22018 22019 2201B 2201E 2201F 2201G 2201W 2201X 22021 22022 22023 22024 22025 22026 22027 2202E 2202G 2202H 22030 22031 22032 22033 22034 22035 22036 22037 22038 22039 2203A 2203B 2203C 2203D 2203E 2203F 2203G 22P01 22P02 22P03 22P04 22P05 22P06 23000 23001 23502 23503 23505 23514 23P01',
  ],
  ['read-only', '25006'],
  ['slow', '25P04 57014'],
  ['contention', '40000 40001 40002 40P01'],
  ['resources', '53000 53200 53400'],
  ['disk', '53100 58030'],
  ['saturated', '53300'],
  ['too-large', '54000 54001 54011 54023'],
  ['lock-timeout', '55P03'],
  ['unavailable', '57000 57P01 57P02 57P03'],
  ['internal', '58000 58P01 58P02 58P03 F0000 F0001 XX000'],
  ['corrupted', 'XX001 XX002'],
]

export const everySqlState: readonly string[] = sqlStatesByClass.flatMap(([, codes]) => codes.split(' '))

/** Where the versions differ: the first and the last that lists the code. Every other code is in all five. */
const listedOnlyIn: Readonly<Record<string, { readonly from?: number; readonly to?: number }>> = {
  '2203G': { from: 15 },
  '72000': { to: 16 },
  '25P04': { from: 17 },
  '10608': { from: 18 },
  '58P03': { from: 18 },
}

export const postgresVersions = [14, 15, 16, 17, 18] as const

/** Those that one version lists, sorted. */
export function sqlStatesOf(version: number): readonly string[] {
  return everySqlState.filter((code) => (listedOnlyIn[code]?.from ?? 14) <= version && version <= (listedOnlyIn[code]?.to ?? 18)).toSorted()
}

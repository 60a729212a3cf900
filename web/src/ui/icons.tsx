/* Icons: strokes on a grid of 20. They stand beside words and say nothing themselves. */
const PATHS = {
  today: 'M3 10a7 7 0 1 0 14 0 7 7 0 0 0-14 0M10 6v4l2.500 2',
  customers: 'M7.500 9.500a3 3 0 1 0 0-6 3 3 0 0 0 0 6M2 16.500c.5-3 2.500-4.500 5.500-4.500s5 1.500 5.500 4.500M13 4a3 3 0 0 1 0 5.500M15 12.200c1.800.6 2.700 2 3 4.300',
  audiences: 'M3 4h14l-5.500 6.500v5l-3 1.500v-6.500z',
  explore: 'M3 17V8M8 17V3M13 17v-6M18 17V6',
  kpis: 'M10 3a7 7 0 1 0 7 7M10 6.500a3.500 3.500 0 1 0 3.500 3.500M10 10l6-6M13.500 3.500V6.500h3',
  sources: 'M3 5c0-1.500 3-2.500 7-2.500s7 1 7 2.500-3 2.500-7 2.500S3 6.500 3 5M3 5v5c0 1.500 3 2.500 7 2.500s7-1 7-2.500V5M3 10v5c0 1.500 3 2.500 7 2.500s7-1 7-2.500v-5',
  setup: 'M4 5h6M14 5h2M4 10h2M10 10h6M4 15h7M15 15h1M12 3v4M8 8v4M13 13v4',
  search: 'M9 15A6 6 0 1 0 9 3a6 6 0 0 0 0 12M13.500 13.500 17 17',
  sun: 'M10 13.500a3.500 3.500 0 1 0 0-7 3.500 3.500 0 0 0 0 7M10 2v1.500M10 16.500V18M2 10h1.500M16.500 10H18M4.300 4.300l1.100 1.100M14.600 14.600l1.100 1.100M4.300 15.700l1.100-1.100M14.600 5.400l1.100-1.100',
  moon: 'M16.500 12A7 7 0 0 1 8 3.500 7 7 0 1 0 16.500 12',
  auto: 'M10 3a7 7 0 1 0 0 14zM10 3a7 7 0 0 1 0 14M10 6.500h5.500M10 10h7M10 13.500h5.500',
  close: 'M5 5l10 10M15 5 5 15',
  alert: 'M10 3 2.500 16.500h15zM10 8v4M10 14.200v.1',
  copy: 'M7 7h9v9H7zM4 13V4h9',
  link: 'M8.500 11.500l3-3M9 6l1.500-1.500a3.500 3.500 0 0 1 5 5L14 11M11 14l-1.500 1.500a3.500 3.500 0 0 1-5-5L6 9',
  back: 'M12 4l-6 6 6 6',
  next: 'M8 4l6 6-6 6',
  plus: 'M10 4v12M4 10h12',
  play: 'M6 4v12l10-6z',
  pause: 'M7 4v12M13 4v12',
  undo: 'M4 8h8a4 4 0 0 1 0 8H8M4 8l3.500-3.500M4 8l3.500 3.500',
  redo: 'M16 8H8a4 4 0 0 0 0 8h4M16 8l-3.500-3.500M16 8l-3.500 3.500',
  out: 'M8 4H4v12h4M8 10h9M13.500 6.500 17 10l-3.500 3.500',
  person: 'M10 10a3.500 3.500 0 1 0 0-7 3.500 3.500 0 0 0 0 7M3.500 17c.8-3.300 3.200-5 6.500-5s5.700 1.700 6.500 5',
  table: 'M3 4h14v12H3zM3 8h14M8 8v8',
  check: 'M4 10.500l4 4 8-9',
  print: 'M6 7V3h8v4M6 14H3V7h14v7h-3M6 12h8v5H6z',
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name, size = 20 }: { name: IconName; size?: number }) {
  return (
    <svg width={size} height={size} viewBox="0 0 20 20" fill="none" stroke="currentColor" stroke-width="1.600" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}

export const kpis = {
  title: 'Kpis',
};

export const audiences = {
  title: 'Audiences',
};

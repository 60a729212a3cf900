export const login = {
  title: 'Sign in',
  lead: 'One system below the waterline, steered by both sides.',
  name: 'Login',
  password: 'Password',
  enter: 'Sign in',
  token: 'Administrator’s token',
  tokenWhy: 'The line in admin.token, in the data directory. It stays in this tab.',
  byToken: 'Use the administrator’s token',
  byPassword: 'Use login and password',
};

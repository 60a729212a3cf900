/* The catalogue of texts: every word of the screens, by page. English is the first language; another
 * one is another folder with the same names. Texts with numbers are functions. */
import { audiences } from './en/audiences';
import { common } from './en/common';
import { customers } from './en/customers';
import { explore } from './en/explore';
import { guard } from './en/guard';
import { kpis } from './en/kpis';
import { login } from './en/login';
import { setup } from './en/setup';
import { sources } from './en/sources';
import { today } from './en/today';

export const t = { common, today, customers, audiences, explore, kpis, sources, setup, guard, login };

/* What is the same on all pages: whose data it is, and the names that have arrived. */
import { setCompany } from '../format';
import { get } from './client';

export interface Company {
  version: string;
  time_zone: string;
  currency: string;
  events: number;
  bytes: number;
  parts: number;
}

export interface Property {
  name: string;
  type: 'number' | 'string' | 'boolean' | 'json';
}

export interface EventNames {
  type: 'track' | 'page' | 'screen' | 'identify' | 'group' | 'alias';
  name: string;
  properties: Property[];
}

export interface Schema {
  events: EventNames[];
  context: Property[];
  traits: Property[];
}

export async function loadCompany(): Promise<Company> {
  const company = await get<Company>('/api/v1/company');
  setCompany(company.time_zone, company.currency || undefined);
  return company;
}

let schema: Promise<Schema> | null = null;

/* Kept for a minute: names are rarely new. */
export function loadSchema(): Promise<Schema> {
  if (!schema) {
    schema = get<Schema>('/api/v1/schema');
    schema.catch(() => (schema = null));
    setTimeout(() => (schema = null), 60_000);
  }
  return schema;
}

/* The event that pays, and its amount, if they are there. */
export function paying(names: Schema): { event: string; amount: string | undefined } | undefined {
  const event = ['Order Completed', 'Purchase', 'Order Placed', 'Subscription Started'].map((name) => tracked(names, name)).find(Boolean);
  const amount = ['revenue', 'total', 'value'].find((name) => event?.properties.some((property) => property.name === name && property.type === 'number'));
  return event && { event: event.name, amount };
}

/* The events of that name that were tracked, if any have come. */
export const tracked = (names: Schema, name: string): EventNames | undefined =>
  names.events.find((event) => event.type === 'track' && event.name === name);

/* How each SDK is pointed at this server. */
export interface Snippet {
  key: string;
  name: string;
  text: (host: string, key: string) => string;
}

export const SNIPPETS: Snippet[] = [
  {
    key: 'browser',
    name: 'Browser',
    text: (host, key) => `// npm install @segment/analytics-next
import { AnalyticsBrowser } from '@segment/analytics-next';

const analytics = AnalyticsBrowser.load(
  { writeKey: '${key}', cdnURL: '${host}' },
  { integrations: { 'Segment.io': { apiHost: '${host.replace(/^https?:\/\//, '')}/v1', protocol: '${host.split(':')[0]}' } } },
);
analytics.track('Product Viewed', { product_id: 'p1', price: 19.9 });`,
  },
  {
    key: 'node',
    name: 'Node.js',
    text: (host, key) => `// npm install @segment/analytics-node
import { Analytics } from '@segment/analytics-node';

const analytics = new Analytics({ writeKey: '${key}', host: '${host}' });
analytics.track({ userId: 'u1', event: 'Order Completed', properties: { order_id: 'o1', revenue: 19.9 } });`,
  },
  {
    key: 'python',
    name: 'Python',
    text: (host, key) => `# pip install segment-analytics-python
import segment.analytics as analytics

analytics.write_key = '${key}'
analytics.host = '${host}'
analytics.track('u1', 'Order Completed', {'order_id': 'o1', 'revenue': 19.9})`,
  },
  {
    key: 'rudder',
    name: 'RudderStack',
    text: (host, key) => `// npm install @rudderstack/rudder-sdk-node
import RudderAnalytics from '@rudderstack/rudder-sdk-node';

const analytics = new RudderAnalytics('${key}', { dataPlaneUrl: '${host}' });
analytics.track({ userId: 'u1', event: 'Order Completed', properties: { order_id: 'o1', revenue: 19.9 } });`,
  },
  {
    key: 'jitsu',
    name: 'Jitsu',
    text: (host, key) => `// npm install @jitsu/js
import { jitsuAnalytics } from '@jitsu/js';

const analytics = jitsuAnalytics({ host: '${host}', writeKey: '${key}:any' });
analytics.track('Product Viewed', { product_id: 'p1', price: 19.9 });`,
  },
  {
    key: 'curl',
    name: 'curl',
    text: (host, key) => `curl ${host}/v1/track -u ${key}: -d '
  {"event": "Order Completed", "userId": "u1",
   "properties": {"order_id": "o1", "revenue": 19.9}}'`,
  },
  {
    key: 'pixel',
    name: 'Pixel',
    text: (host, key) => `<img alt="" src="${host}/pixel/v1/track?writeKey=${key}&event=Mail%20Opened&userId=u1">`,
  },
];

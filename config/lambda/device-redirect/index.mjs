// Origin request: small screens are sent to /m, once for each kind of device. The answer is kept
// like the origin's own, so it needs a lifetime.

const PLAIN = ['/m/', '/static/'];

export const handler = async (event) => {
  const request = event.Records[0].cf.request;
  const says = (name) => request.headers[name]?.[0]?.value === 'true';
  const isSmall = says('cloudfront-is-mobile-viewer') && !says('cloudfront-is-tablet-viewer');
  if (!isSmall || PLAIN.some((prefix) => request.uri.startsWith(prefix))) {
    return request;
  }
  const query = request.querystring === '' ? '' : `?${request.querystring}`;
  return {
    status: '302',
    statusDescription: 'Found',
    headers: {
      location: [{ key: 'Location', value: `/m${request.uri}${query}` }],
      'cache-control': [{ key: 'Cache-Control', value: 'max-age=300' }],
    },
  };
};

'use strict';
// Origin request: a share of viewers gets the pages below /b. Who is in it is said by the cookie
// `side`, which must be a part of the cache key.

exports.handler = (event, context, callback) => {
  const request = event.Records[0].cf.request;
  const cookies = (request.headers.cookie || []).map((line) => line.value).join('; ');
  if (/(^|;\s*)side=b(;|$)/.test(cookies)) {
    request.uri = `/b${request.uri}`;
  }
  callback(null, request);
};

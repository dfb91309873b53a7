// Fields that tell browsers to be careful, on answers from the store as on all others. A response
// headers policy does the same with no code, and on errors too; code is for what depends on the
// answer.
function handler(event) {
    const response = event.response;
    const headers = response.headers;
    headers['strict-transport-security'] = { value: 'max-age=63072000; includeSubDomains' };
    headers['x-content-type-options'] = { value: 'nosniff' };
    headers['referrer-policy'] = { value: 'strict-origin-when-cross-origin' };
    const type = headers['content-type'];
    if (type && type.value.indexOf('text/html') === 0) {
        headers['content-security-policy'] = { value: "default-src 'self'; frame-ancestors 'none'" };
        headers['x-frame-options'] = { value: 'DENY' };
    }
    delete headers['x-powered-by'];
    return response;
}

// Sends viewers of the start page to the one for their country, or to the one for phones.
//
// CloudFront-Viewer-Country and CloudFront-Is-Mobile-Viewer are there because the behavior's origin
// request policy names them.
const LANGUAGES = { DE: 'de', AT: 'de', CH: 'de' };

function redirect(to) {
    return {
        statusCode: 302,
        statusDescription: 'Found',
        headers: {
            location: { value: to },
            'cache-control': { value: 'no-store' },
        },
    };
}

function handler(event) {
    const request = event.request;
    const headers = request.headers;
    // A viewer that chose its page stays on it.
    if (request.uri !== '/start' || request.querystring.stay) {
        return request;
    }
    const country = headers['cloudfront-viewer-country'];
    if (country && LANGUAGES[country.value]) {
        return redirect('/' + LANGUAGES[country.value] + '/');
    }
    const mobile = headers['cloudfront-is-mobile-viewer'];
    if (mobile && mobile.value === 'true') {
        return redirect('/m/');
    }
    return redirect('/');
}

// Makes one key of requests that mean the same: parameters in order, in lower case and without those
// of advertisers, and one language out of Accept-Language.
const DROPPED = /^(utm_.*|gclid|fbclid|msclkid)$/;
const LANGUAGES = ['en', 'de', 'fr'];

function language(field) {
    const wanted = field ? field.value.toLowerCase().split(',') : [];
    for (let i = 0; i < wanted.length; i++) {
        const tag = wanted[i].split(';')[0].trim().split('-')[0];
        if (LANGUAGES.indexOf(tag) >= 0) {
            return tag;
        }
    }
    return LANGUAGES[0];
}

function handler(event) {
    const request = event.request;
    const parts = [];
    const names = Object.keys(request.querystring);
    for (let i = 0; i < names.length; i++) {
        const name = names[i].toLowerCase();
        if (DROPPED.test(name)) {
            continue;
        }
        const parameter = request.querystring[names[i]];
        const values = parameter.multiValue ? parameter.multiValue : [parameter];
        for (let j = 0; j < values.length; j++) {
            parts.push(name + '=' + values[j].value);
        }
    }
    parts.sort();
    request.querystring = parts.join('&');
    request.headers['accept-language'] = { value: language(request.headers['accept-language']) };
    return request;
}

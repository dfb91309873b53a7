// Asks for a name and a password. The store has, for `user/NAME`, the SHA-256 of `NAME:PASSWORD` in
// hex; changing it there takes effect with the next request.
import cf from 'cloudfront';
import crypto from 'crypto';

const kvs = cf.kvs();

// As long for a wrong digest as for the right one.
function isSame(one, other) {
    let differs = one.length ^ other.length;
    for (let i = 0; i < one.length; i++) {
        differs |= one.charCodeAt(i) ^ other.charCodeAt(i % other.length);
    }
    return differs === 0;
}

function refused() {
    return {
        statusCode: 401,
        statusDescription: 'Unauthorized',
        headers: {
            'www-authenticate': { value: 'Basic realm="private", charset="UTF-8"' },
            'cache-control': { value: 'no-store' },
        },
    };
}

async function isKnown(field) {
    if (!field || field.value.substring(0, 6).toLowerCase() !== 'basic ') {
        return false;
    }
    const pair = Buffer.from(field.value.substring(6), 'base64').toString('utf8');
    const colon = pair.indexOf(':');
    if (colon < 1) {
        return false;
    }
    const digest = crypto.createHash('sha256').update(pair).digest('hex');
    try {
        const kept = await kvs.get('user/' + pair.substring(0, colon));
        return isSame(digest, kept);
    } catch (error) {
        // There is no such name.
        return false;
    }
}

async function handler(event) {
    const request = event.request;
    const known = await isKnown(request.headers.authorization);
    if (!known) {
        return refused();
    }
    // The origin has no use for the password.
    delete request.headers.authorization;
    return request;
}

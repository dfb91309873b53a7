// Lets in viewers that have a token (JWT, HS256) that counts: signed with the key of the store, begun
// and not over. Its subject goes to the origin as X-User, whatever the viewer said there.
import cf from 'cloudfront';
import crypto from 'crypto';

const kvs = cf.kvs();

function isSame(one, other) {
    let differs = one.length ^ other.length;
    for (let i = 0; i < one.length; i++) {
        differs |= one.charCodeAt(i) ^ other.charCodeAt(i % other.length);
    }
    return differs === 0;
}

function tokenOf(request) {
    const field = request.headers.authorization;
    if (field && field.value.substring(0, 7) === 'Bearer ') {
        return field.value.substring(7);
    }
    const cookie = request.cookies.token;
    return cookie ? cookie.value : '';
}

function read(part) {
    return JSON.parse(Buffer.from(part, 'base64url').toString('utf8'));
}

// The claims of a token, or an error that says what is wrong with it.
function verified(token, key) {
    const parts = token.split('.');
    if (parts.length !== 3) {
        throw new Error('this is no token');
    }
    if (read(parts[0]).alg !== 'HS256') {
        throw new Error('signed in another way');
    }
    const mac = crypto.createHmac('sha256', key);
    const wanted = mac.update(parts[0] + '.' + parts[1]).digest('base64url');
    if (!isSame(parts[2], wanted)) {
        throw new Error('signed with another key');
    }
    const claims = read(parts[1]);
    const now = Date.now() / 1000;
    if (typeof claims.exp !== 'number' || claims.exp <= now) {
        throw new Error('it is over');
    }
    if (claims.nbf && claims.nbf > now) {
        throw new Error('it has not begun');
    }
    return claims;
}

async function handler(event) {
    const request = event.request;
    const token = tokenOf(request);
    try {
        const key = await kvs.get('token-key');
        const claims = verified(token, key);
        request.headers['x-user'] = { value: encodeURIComponent(String(claims.sub)) };
        delete request.headers.authorization;
        return request;
    } catch (error) {
        console.log('token refused: ' + error.message);
        return {
            statusCode: 401,
            statusDescription: 'Unauthorized',
            headers: {
                'www-authenticate': { value: 'Bearer error="invalid_token"' },
                'cache-control': { value: 'no-store' },
            },
        };
    }
}

// Half of all viewers see page B in the place of page A, and each goes on seeing the same one.
//
// The same code stands at both events. In the request it chooses the page, in the response it gives
// the cookie that keeps a viewer on its side. A viewer without the cookie is told by its address and
// browser, so both events come to the same answer and nothing has to be handed from one to the other.
import crypto from 'crypto';

const COOKIE = 'side';

function keptSide(request) {
    const cookie = request.cookies[COOKIE];
    return cookie && (cookie.value === 'a' || cookie.value === 'b') ? cookie.value : '';
}

function sideOf(event) {
    const kept = keptSide(event.request);
    if (kept) {
        return kept;
    }
    const agent = event.request.headers['user-agent'];
    const who = event.viewer.ip + ' ' + (agent ? agent.value : '');
    const digest = crypto.createHash('sha256').update(who).digest('hex');
    return parseInt(digest.charAt(0), 16) < 8 ? 'a' : 'b';
}

function handler(event) {
    const request = event.request;
    const side = sideOf(event);
    if (event.context.eventType === 'viewer-request') {
        if (request.uri === '/' || request.uri === '/index.html') {
            request.uri = side === 'b' ? '/b/index.html' : '/index.html';
        }
        return request;
    }
    const response = event.response;
    if (!keptSide(request)) {
        response.cookies[COOKIE] = { value: side, attributes: 'Path=/; Max-Age=2592000; SameSite=Lax' };
    }
    return response;
}

// Paths that are no files: a folder is its index.html, and whatever the application below /app/ takes
// for a page is its one file.
function handler(event) {
    const request = event.request;
    const uri = request.uri;
    const last = uri.substring(uri.lastIndexOf('/') + 1);
    if (last.indexOf('.') >= 0) {
        return request;
    }
    if (uri === '/app' || uri.startsWith('/app/')) {
        request.uri = '/app/index.html';
    } else if (last === '') {
        request.uri = uri + 'index.html';
    } else {
        request.uri = uri + '/index.html';
    }
    return request;
}

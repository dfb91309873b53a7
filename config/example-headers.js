// Says by which code an answer was seen.
function handler(event) {
    var response = event.response;
    response.headers['x-example'] = { value: 'TAG' };
    return response;
}

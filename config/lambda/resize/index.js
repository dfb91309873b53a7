'use strict';
// Origin response: images as wide as `?width=` says, in WebP for those who take it. Accept must be a
// part of the cache key, and `width` too; what is made is kept, so each size is made once.
//
// A function at this event does not see the body that came: it asks the origin for it once more.

const http = require('http');
const https = require('https');
const sharp = require('sharp');

const WIDEST = 2000;

function fetch(origin, uri) {
  const { domainName, port, protocol, path } = origin;
  const client = protocol === 'https' ? https : http;
  return new Promise((resolve, reject) => {
    client.get({ host: domainName, port, path: path + uri }, (answer) => {
      const pieces = [];
      answer.on('data', (piece) => pieces.push(piece));
      answer.on('end', () => resolve(Buffer.concat(pieces)));
      answer.on('error', reject);
    }).on('error', reject);
  });
}

exports.handler = async (event) => {
  const { request, response } = event.Records[0].cf;
  const width = Number(new URLSearchParams(request.querystring).get('width'));
  const kind = response.headers['content-type']?.[0]?.value ?? '';
  const isImage = /^image\/(jpeg|png|webp)/.test(kind);
  if (response.status !== '200' || !isImage || !(width >= 1 && width <= WIDEST)) {
    return response;
  }
  const image = sharp(await fetch(request.origin.custom, request.uri))
    .resize({ width: Math.floor(width), withoutEnlargement: true });
  const accept = (request.headers.accept || []).map((line) => line.value).join(',');
  const takesWebp = accept.includes('image/webp');
  const made = await (takesWebp ? image.webp() : image).toBuffer();
  response.body = made.toString('base64');
  response.bodyEncoding = 'base64';
  if (takesWebp) {
    response.headers['content-type'] = [{ key: 'Content-Type', value: 'image/webp' }];
  }
  delete response.headers['content-length'];
  delete response.headers.etag;
  return response;
};

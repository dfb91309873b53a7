// Signs with @aws-sdk/cloudfront-signer: sign.cjs URL KEY_ID KEY_FILE UNTIL HASH. Prints the URL and cookies as JSON.
const { readFileSync } = require("fs");
const { getSignedUrl, getSignedCookies } = require("@aws-sdk/cloudfront-signer");

const [url, keyPairId, file, until, hashAlgorithm] = process.argv.slice(2);
const privateKey = readFileSync(file, "utf8");
const dateLessThan = new Date(Number(until) * 1000).toISOString();
const about = { url, keyPairId, privateKey, dateLessThan, hashAlgorithm };
const policy = JSON.stringify({
  Statement: [{
    Resource: url.replace(/[^/]*$/, "*"),
    Condition: { DateLessThan: { "AWS:EpochTime": Number(until) } },
  }],
});
console.log(JSON.stringify({
  url: getSignedUrl(about),
  wide: getSignedUrl({ url, keyPairId, privateKey, policy, hashAlgorithm }),
  cookies: getSignedCookies({ url, keyPairId, privateKey, policy, hashAlgorithm }),
}));

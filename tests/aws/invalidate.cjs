// Invalidates through CloudFront's API with the JavaScript SDK: invalidate.cjs ENDPOINT DISTRIBUTION. Prints JSON.
const { CloudFrontClient, CreateInvalidationCommand, GetInvalidationCommand, waitUntilInvalidationCompleted } =
  require("@aws-sdk/client-cloudfront");

const [endpoint, DistributionId] = process.argv.slice(2);
const client = new CloudFrontClient({ endpoint, region: "us-east-1", maxAttempts: 1 });

(async () => {
  const InvalidationBatch = { CallerReference: "js-1", Paths: { Quantity: 1, Items: ["/js/*"] } };
  const made = await client.send(new CreateInvalidationCommand({ DistributionId, InvalidationBatch }));
  const Id = made.Invalidation.Id;
  await waitUntilInvalidationCompleted({ client, maxWaitTime: 60 }, { DistributionId, Id });
  const got = await client.send(new GetInvalidationCommand({ DistributionId, Id }));
  console.log(JSON.stringify({ location: made.Location, status: got.Invalidation.Status, id: Id }));
})().catch((error) => {
  console.error(error);
  process.exit(1);
});

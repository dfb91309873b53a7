// Makes, publishes, tries and removes a function through CloudFront's API with the JavaScript SDK: functions.cjs ENDPOINT. Prints JSON.
const {
  CloudFrontClient, CreateFunctionCommand, DeleteFunctionCommand, DescribeFunctionCommand, GetFunctionCommand, PublishFunctionCommand,
  TestFunctionCommand, UpdateFunctionCommand,
} = require("@aws-sdk/client-cloudfront");

const client = new CloudFrontClient({ endpoint: process.argv[2], region: "us-east-1", maxAttempts: 1 });
const Name = "js";
const FunctionConfig = { Comment: "js", Runtime: "cloudfront-js-2.0" };
const code = (uri) =>
  Buffer.from(`function handler(event) { event.request.uri = '${uri}'; return event.request; }`);

(async () => {
  const made = await client.send(new CreateFunctionCommand({ Name, FunctionConfig, FunctionCode: code("/one") }));
  const updated = await client.send(
    new UpdateFunctionCommand({ Name, IfMatch: made.ETag, FunctionConfig, FunctionCode: code("/two") }));
  const described = await client.send(new DescribeFunctionCommand({ Name }));
  const EventObject = Buffer.from(JSON.stringify({ request: { method: "GET", uri: "/a", querystring: {}, headers: {}, cookies: {} } }));
  const tried = await client.send(new TestFunctionCommand({ Name, IfMatch: described.ETag, EventObject }));
  const published = await client.send(new PublishFunctionCommand({ Name, IfMatch: described.ETag }));
  const got = await client.send(new GetFunctionCommand({ Name, Stage: "LIVE" }));
  await client.send(new DeleteFunctionCommand({ Name, IfMatch: described.ETag }));
  const gone = await client.send(new DescribeFunctionCommand({ Name })).then(() => "there", (error) => error.name);
  console.log(JSON.stringify({
    etag: updated.ETag === described.ETag,
    uri: JSON.parse(tried.TestResult.FunctionOutput).request.uri,
    stage: published.FunctionSummary.FunctionMetadata.Stage,
    code: Buffer.from(got.FunctionCode).toString().includes("/two"),
    gone,
  }));
})().catch((error) => {
  console.error(error);
  process.exit(1);
});

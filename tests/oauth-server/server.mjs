// A real authorisation server (oidc-provider) for the end-to-end tests: loopback only, everything in memory, gone with
// its process. People are in a hurry here: whoever opens the authorisation page is `ann`, and she agrees.
//
//   node server.mjs FOLDER     prints {"port": N} once it listens; FOLDER is what scripts/oauth-server prints
//
// Beside the provider: /api/me tells what a token is good for; /control/... is for the tests.
import { createServer } from 'node:http';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const library = join(process.argv[2], 'node_modules/oidc-provider/lib/index.js');
const { Provider } = await import(pathToFileURL(library));

const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token';
const DEVICE = 'urn:ietf:params:oauth:grant-type:device_code';
const SCOPES = ['openid', 'offline_access', 'repo.read', 'repo.write'];
const SECRET = 'the-clients-own-secret-of-the-tests-0123456789';

const http = createServer();
await new Promise((resolve) => http.listen(0, '127.0.0.1', resolve));
const issuer = `http://127.0.0.1:${http.address().port}`;

// Native clients may listen at any port of the loopback address (RFC 8252, 7.3).
const client = (id, more) => ({
  client_id: id,
  application_type: 'native',
  response_types: ['code'],
  redirect_uris: ['http://127.0.0.1/callback/real', 'http://127.0.0.1/v1/oauth/callback'],
  scope: SCOPES.join(' '),
  ...more,
});

// The first access token of an authorisation lasts for a moment, so that it has to be renewed.
let firstLife = 3600;

const provider = new Provider(issuer, {
  clients: [
    client('sophon-public', {
      token_endpoint_auth_method: 'none',
      grant_types: ['authorization_code', 'refresh_token', DEVICE],
    }),
    client('sophon-secret', {
      token_endpoint_auth_method: 'client_secret_basic',
      client_secret: SECRET,
      grant_types: ['authorization_code', 'refresh_token', DEVICE, EXCHANGE],
    }),
  ],
  scopes: SCOPES,
  claims: { openid: ['sub'] },
  findAccount: (_ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
  issueRefreshToken: () => true,
  rotateRefreshToken: true,
  pkce: { required: () => true },
  ttl: {
    AccessToken: (_ctx, token) => (token.gty?.includes('refresh_token') ? 3600 : firstLife),
    AuthorizationCode: 60,
    DeviceCode: 600,
    Grant: 86400,
    IdToken: 3600,
    Interaction: 600,
    RefreshToken: 86400,
    Session: 86400,
  },
  features: {
    devInteractions: { enabled: false },
    deviceFlow: { enabled: true },
    revocation: { enabled: true },
  },
});

async function agree(accountId, clientId, scope) {
  const grant = new provider.Grant({ accountId, clientId });
  grant.addOIDCScope(scope);
  return grant.save();
}

// RFC 8693, as far as the host asks for it.
provider.registerGrantType(EXCHANGE, async (ctx) => {
  const { subject_token, scope } = ctx.oidc.params;
  const subject = await provider.AccessToken.find(subject_token);
  const asked = (scope ?? '').split(' ').filter(Boolean);
  if (!subject || subject.clientId !== ctx.oidc.client.clientId) {
    ctx.status = 400;
    ctx.body = { error: 'invalid_request' };
    return;
  }
  if (!asked.every((one) => subject.scopes.has(one))) {
    ctx.status = 400;
    ctx.body = { error: 'invalid_scope' };
    return;
  }
  const token = new provider.AccessToken({
    accountId: subject.accountId,
    client: ctx.oidc.client,
    grantId: subject.grantId,
    gty: 'token_exchange',
    scope: asked.join(' '),
    expiresIn: 300,
  });
  ctx.body = {
    access_token: await token.save(),
    issued_token_type: ACCESS_TOKEN,
    token_type: 'Bearer',
    expires_in: 300,
    scope: asked.join(' '),
  };
}, ['subject_token', 'subject_token_type', 'requested_token_type', 'scope']);

let lastShown = '';
const asked = {};
provider.on('grant.success', (ctx) => {
  const grant = ctx.oidc.params.grant_type;
  asked[grant] = (asked[grant] ?? 0) + 1;
});
provider.on('server_error', (_ctx, error) => console.error(error));

provider.use(async (ctx, next) => {
  const { path } = ctx;
  if (path.startsWith('/interaction/')) {
    const { prompt, params } = await provider.interactionDetails(ctx.req, ctx.res);
    const result =
      prompt.name === 'login'
        ? { login: { accountId: 'ann' } }
        : { consent: { grantId: await agree('ann', params.client_id, params.scope) } };
    ctx.respond = false;
    await provider.interactionFinished(ctx.req, ctx.res, result, { mergeWithLastSubmission: true });
    return;
  }
  if (path === '/api/me' || path === '/control/again') {
    // The second: what the resource says to whoever shows the token that it saw last.
    if (path === '/api/me') lastShown = (ctx.get('authorization') ?? '').replace(/^Bearer /, '');
    const token = await provider.AccessToken.find(lastShown);
    ctx.status = token ? 200 : 401;
    ctx.body = token ? { sub: token.accountId, scope: token.scope, expires_in: token.remainingTTL } : { error: 'invalid_token' };
    return;
  }
  if (path === '/control/asked') {
    ctx.body = asked;
    return;
  }
  if (path === '/control/first-life') {
    firstLife = Number(ctx.query.seconds);
    ctx.body = { firstLife };
    return;
  }
  if (path === '/control/approve') {
    const code = await provider.DeviceCode.findByUserCode(ctx.query.user_code.replace(/-/g, ''));
    code.accountId = 'ann';
    code.scope = code.params.scope;
    code.grantId = await agree('ann', code.clientId, code.params.scope);
    await code.save();
    ctx.body = { approved: true };
    return;
  }
  await next();
});

http.on('request', provider.callback());
console.log(JSON.stringify({ port: http.address().port }));
// Whoever started this holds its standard input; when that closes, nobody needs it any more.
process.stdin.on('end', () => process.exit(0)).resume();

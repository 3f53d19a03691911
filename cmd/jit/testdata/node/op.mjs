// The identity provider of the end-to-end suite: panva/oidc-provider, a
// certified implementation that shares no code with jit. Device flow, rotating
// refresh tokens, a groups claim in the ID token, and the package's own sign-in
// pages, where any login name is the account id.
//
// Usage: PORT=n [ISSUER=url] node op.mjs
// Prints "op ready ISSUER" once it listens on 127.0.0.1.
import { Provider } from 'oidc-provider';

const port = Number(process.env.PORT);
// A front may stand before it; it then passes the Host header on.
const issuer = process.env.ISSUER || `http://127.0.0.1:${port}`;
const users = {
  alice: { email: 'alice@example.test', groups: ['analysts', 'jit-unattended'], name: 'Alice Analyst' },
  dora: { email: 'dora@example.test', groups: ['analysts'], name: 'Dora Analyst' },
  bob: { email: 'bob@example.test', groups: ['approvers', 'jit-admins'], name: 'Bob Approver' },
  carol: { email: 'carol@example.test', groups: ['approvers'], name: 'Carol Approver' },
  mallory: { email: 'mallory@example.test', groups: [], name: 'Mallory Nobody' },
};
const provider = new Provider(issuer, {
  clients: [{
    client_id: 'jit-cli',
    token_endpoint_auth_method: 'none',
    application_type: 'native',
    grant_types: ['urn:ietf:params:oauth:grant-type:device_code', 'refresh_token', 'authorization_code'],
    response_types: ['code'],
    redirect_uris: ['http://127.0.0.1/callback'],
  }],
  claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name'], groups: ['groups'] },
  scopes: ['openid', 'offline_access', 'email', 'profile', 'groups'],
  conformIdTokenClaims: false, // scope claims go into the ID token as well
  features: {
    deviceFlow: { enabled: true, charset: 'base-20', mask: '****-****' },
    devInteractions: { enabled: true },
    revocation: { enabled: true },
    introspection: { enabled: true },
  },
  issueRefreshToken: async (ctx, client, code) => client.grantTypeAllowed('refresh_token') && code.scopes.has('offline_access'),
  findAccount: async (ctx, id) => users[id] && {
    accountId: id,
    claims: async () => ({ sub: id, email_verified: true, ...users[id] }),
  },
  ttl: {
    DeviceCode: 120,
    AccessToken: 300,
    IdToken: 300,
    RefreshToken: 3600,
    Session: 3600,
    Grant: 3600,
    Interaction: 600,
  },
  cookies: { keys: ['test-only'] },
});
const server = provider.listen(port, '127.0.0.1', () => console.log('op ready', issuer));
process.on('SIGTERM', () => {
  server.close(() => process.exit(0));
  server.closeAllConnections();
});

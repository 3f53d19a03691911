// The identity provider of this package's tests: panva/oidc-provider, a
// certified implementation that shares no code with jit.
//
// Environment: MODULES (folder of node_modules), PORT, ISSUER (may have another
// port: a provider that moved), JWKS (the signing keys, JSON, the first one signs).
// Prints "op ready" once it listens on 127.0.0.1.
const { MODULES, PORT, ISSUER, JWKS } = process.env;
const { Provider, errors } = await import(`${MODULES}/oidc-provider/lib/index.js`);

const users = {
  alice: { email: 'alice@example.test', email_verified: true, groups: ['analysts', 'night-shift'] },
  unverified: { email: 'root@example.test', email_verified: false, groups: ['analysts'] },
  nogroups: { email: 'nogroups@example.test' },
  single: { groups: 'analysts' },
  odd: { groups: { analysts: true } },
  nested: { realm_access: { roles: ['analysts', 'night-shift'] } },
  over: { _claim_names: { groups: 'src1' }, _claim_sources: { src1: { endpoint: 'https://graph.example.test/users/over/getMemberObjects' } } },
};
const all = ['email', 'email_verified', 'groups', 'realm_access', '_claim_names', '_claim_sources'];
const device = (id) => ({
  client_id: id, token_endpoint_auth_method: 'none', application_type: 'native',
  grant_types: ['urn:ietf:params:oauth:grant-type:device_code', 'authorization_code'],
  response_types: ['code'], redirect_uris: ['http://127.0.0.1/callback'],
});
const provider = new Provider(ISSUER, {
  clients: [device('jit-cli'), device('other-cli'), {
    client_id: 'ci-bot', client_secret: 'ci-bot-secret-of-the-test', token_endpoint_auth_method: 'client_secret_basic',
    grant_types: ['client_credentials'], response_types: [], redirect_uris: [],
  }],
  jwks: JSON.parse(JWKS),
  claims: { openid: ['sub', ...all] },
  scopes: ['openid'],
  conformIdTokenClaims: false,
  features: {
    deviceFlow: { enabled: true, charset: 'base-20', mask: '****-****' },
    devInteractions: { enabled: true },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (ctx, resource) => {
        if (!resource.startsWith('https://jit.example.test')) throw new errors.InvalidTarget();
        return { scope: '', audience: resource, accessTokenFormat: 'jwt', accessTokenTTL: 300, jwt: { sign: { alg: 'RS256' } } };
      },
    },
  },
  findAccount: async (ctx, id) => users[id] && { accountId: id, claims: async () => ({ sub: id, ...users[id] }) },
  ttl: { DeviceCode: 120, AccessToken: 300, ClientCredentials: 300, IdToken: 300, Session: 3600, Grant: 3600, Interaction: 600 },
  cookies: { keys: ['test-only'] },
});
const server = provider.listen(Number(PORT), '127.0.0.1', () => console.log('op ready'));
process.on('SIGTERM', () => {
  server.close(() => process.exit(0));
  server.closeAllConnections();
});

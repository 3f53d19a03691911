// The SAML identity provider of this package's tests: Auth0's samlp, which
// shares no code with the library under test.
//
// Environment: MODULES (folder of node_modules), KEY and CERT (files, PEM), ACS,
// AUDIENCE. Prints "idp ready PORT". GET /sso?SAMLRequest=…&RelayState=… answers
// {"SAMLResponse", "RelayState"}, what its page would post. A test asks for a
// response that is wrong in one way by more parameters: audience, destination,
// recipient, inResponseTo, lifetime, issuer, sign (response, assertion, both,
// none), format, name.
import { createRequire } from 'node:module';
import { createServer } from 'node:http';
import { readFileSync } from 'node:fs';
const { MODULES, KEY, CERT, ACS, AUDIENCE } = process.env;
const samlp = createRequire(`${MODULES}/`)('samlp');
const key = readFileSync(KEY), cert = readFileSync(CERT);
const issuer = 'urn:idp.example.test';

createServer((req, res) => {
  const q = Object.fromEntries(new URL(req.url, 'http://127.0.0.1').searchParams);
  const sign = q.sign || 'assertion';
  const fail = (e) => { res.statusCode = 500; res.end(String((e && e.stack) || e)); };
  const answer = (inResponseTo) => samlp.getSamlResponse({
    issuer: q.issuer || issuer, cert, key,
    audience: q.audience || AUDIENCE, destination: q.destination || ACS, recipient: q.recipient || ACS,
    inResponseTo: q.inResponseTo === 'none' ? undefined : q.inResponseTo || inResponseTo,
    lifetimeInSeconds: Number(q.lifetime || 300),
    signResponse: sign === 'response' || sign === 'both', signAssertion: sign === 'assertion' || sign === 'both',
    signatureAlgorithm: 'rsa-sha256', digestAlgorithm: 'sha256',
    profileMapper: () => ({
      getClaims: () => ({ groups: ['analysts', 'night-shift'], email: 'alice@example.test', name: 'Alice Analyst' }),
      getNameIdentifier: () => ({ nameIdentifier: q.name || 'alice-4711', nameIdentifierFormat: q.format || 'urn:oasis:names:tc:SAML:2.0:nameid-format:persistent' }),
    }),
  }, { id: 'alice' }, (err, xml) => {
    if (err) return fail(err);
    res.setHeader('Content-Type', 'application/json');
    res.end(JSON.stringify({ SAMLResponse: Buffer.from(xml).toString('base64'), RelayState: q.RelayState || '' }));
  });
  try {
    if (!q.SAMLRequest) return answer(undefined);
    samlp.parseRequest({ query: q, body: {} }, {}, (err, data) => (err ? fail(err) : answer(data.id)));
  } catch (e) { fail(e); }
}).listen(0, '127.0.0.1', function () { console.log('idp ready ' + this.address().port); });

// An OpenID provider for tests: oidc-provider from npm, with its own forms for login and consent. Any name and password log in.
import { Provider } from 'oidc-provider';

const settings = JSON.parse(process.argv[2]);

const provider = new Provider(settings.issuer, {
  clients: [
    {
      client_id: 'vault',
      client_secret: settings.secret,
      redirect_uris: settings.redirect_uris,
      grant_types: ['authorization_code', 'urn:ietf:params:oauth:grant-type:device_code'],
      response_types: ['code'],
    },
  ],
  cookies: { keys: ['a key of a test'] },
  features: { deviceFlow: { enabled: true }, devInteractions: { enabled: true } },
  pkce: { required: () => false },
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, groups: ['analytics'] }) }),
});
provider.listen(settings.port, '127.0.0.1', () => console.log('ready'));

// The SDK's credentials inside a bundle: Lambda puts them into the environment, so the bundler puts this in the place of the SDK's whole chain
// (profiles, single sign-on, web identity, instance metadata, each with clients of its own), a sixth of a bundle and of its cold start.

export { fromEnv as defaultProvider } from '@aws-sdk/credential-provider-env'

/** The configuration file says something that cannot be done; the start ends with exit code 2 and this message. */
export class ConfigurationFault extends Error {
  override name = "ConfigurationFault";
}

/**
 * Process entry. The first process of a container is sent no signal that it has no handler for, and the rest takes a while to
 * load, so there is one before anything else.
 */
const stop = () => process.exit(0);
process.on('SIGTERM', stop);
process.on('SIGINT', stop);

const { command } = await import('./command.ts');
await command(stop);

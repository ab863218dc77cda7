// Runs the browser tests against a real server, in a network of its own where that is allowed.
//
// - SOJOURN_URL (with SOJOURN_SETUP_CODE, or SOJOURN_USER and SOJOURN_PASSWORD): a server that runs already.
// - SOJOURN_BIN: that binary is started. As root, in a network namespace with a bridge: server and browser see
//   a host there from the start, and another one appears when a test asks for it. Without root no source runs, and the
//   host is reported through the API.
// - neither: the mock of the development server, on what was last built.
// A server that was started here finds an OpenSSH server, Samba, a TigerVNC desktop and one over RDP beside it, in SOJOURN_E2E_SSH,
// SOJOURN_E2E_SMB, SOJOURN_E2E_VNC and SOJOURN_E2E_RDP as JSON; for one that runs already they may be given. SOJOURN_E2E_APPEAR_CMD, where given, is the shell command that makes a host appear.
import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';

const web = new URL('..', import.meta.url).pathname;
const env = { ...process.env };
const undo = [];
const ip = (...args) => execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] });

function cleanUp() {
  for (const step of undo.splice(0).reverse()) {
    try {
      step();
    } catch {
      // What is gone already needs no undoing.
    }
  }
}
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => (cleanUp(), process.exit(130)));

/** Makes the namespace of the watcher and two hosts on its bridge; the second one stays unplugged. */
function network() {
  if (process.getuid?.() !== 0) return null;
  const name = `sje${process.pid}`;
  try {
    for (const part of ['', '-a', '-b']) {
      ip('netns', 'add', name + part);
      undo.push(() => ip('netns', 'del', name + part));
      ip('-n', name + part, 'link', 'set', 'lo', 'up');
    }
    // An address that comes by itself a second after a host appeared makes Chromium drop what it is loading.
    ip('netns', 'exec', name, 'sh', '-c', 'echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6 || true');
    ip('-n', name, 'link', 'add', 'eth0', 'type', 'bridge');
    ip('-n', name, 'addr', 'add', '10.99.7.1/24', 'dev', 'eth0');
    ip('-n', name, 'link', 'set', 'eth0', 'up');
    for (const [part, host, mac] of [['-a', '10.99.7.10/24', 'b8:27:eb:00:07:10'], ['-b', '10.99.7.20/24', '24:0a:c4:00:07:20']]) {
      ip('-n', name, 'link', 'add', `p${part}`, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name + part);
      ip('-n', name + part, 'link', 'set', 'eth0', 'address', mac);
      ip('-n', name + part, 'addr', 'add', host, 'dev', 'eth0');
      ip('-n', name, 'link', 'set', `p${part}`, 'master', 'eth0');
      ip('-n', name, 'link', 'set', `p${part}`, 'up');
    }
    ip('-n', `${name}-a`, 'link', 'set', 'eth0', 'up');
    env.SOJOURN_E2E_APPEAR_CMD ??= `ip -n ${name}-b link set eth0 up; ip netns exec ${name}-b bash -c "echo > /dev/udp/10.99.7.1/9" || true`;
    env.SOJOURN_E2E_APPEAR_MAC ??= '24:0A:C4:00:07:20';
    return name;
  } catch (error) {
    console.log(`no network namespaces here: ${String(error.stderr ?? error.message).trim()}`);
    cleanUp();
    return null;
  }
}

/** Starts OpenSSH's server on the loopback, with one user that exists as long as it does. */
function sshd(prefix) {
  if (env.SOJOURN_E2E_SSH || process.getuid?.() !== 0 || !existsSync('/usr/sbin/sshd')) {
    if (!env.SOJOURN_E2E_SSH) console.log('no root or no sshd here: nothing is opened over SSH');
    return;
  }
  const run = (program, args, input) => execFileSync(program, args, { input, stdio: [input ? 'pipe' : 'ignore', 'ignore', 'pipe'] });
  const [name, password, port] = [`sje${process.pid}`, 'a password at the target', 20_000 + (process.pid % 20_000)];
  const folder = mkdtempSync(join(tmpdir(), 'sojourn-e2e-sshd-'));
  undo.push(() => rmSync(folder, { recursive: true, force: true }));
  try {
    run('useradd', ['--create-home', '--home-dir', join(folder, 'home'), '--shell', '/bin/bash', name]);
    undo.push(() => run('userdel', [name]));
    run('chpasswd', [], `${name}:${password}`);
    chmodSync(folder, 0o755);
    run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(folder, 'host')]);
    mkdirSync('/run/sshd', { recursive: true });
    writeFileSync(join(folder, 'config'), ['ListenAddress 127.0.0.1', `Port ${port}`, `HostKey ${join(folder, 'host')}`, 'PidFile none', 'UsePAM no', 'PasswordAuthentication yes', 'PrintMotd no', 'PrintLastLog no', 'Subsystem sftp internal-sftp', ''].join('\n'));
    const [program, ...args] = [...prefix, '/usr/sbin/sshd', '-D', '-e', '-f', join(folder, 'config')];
    const child = spawn(program, args, { stdio: 'ignore' });
    undo.push(() => child.kill('SIGTERM'));
    env.SOJOURN_E2E_SSH = JSON.stringify({ host: '127.0.0.1', port, username: name, password });
  } catch (error) {
    console.log(`no sshd for the tests: ${String(error.stderr ?? error.message).trim()}`);
  }
}

/** Starts Samba on the loopback, with one share of the user that `sshd` made. */
function smbd(prefix) {
  if (env.SOJOURN_E2E_SMB || !env.SOJOURN_E2E_SSH || process.getuid?.() !== 0 || !existsSync('/usr/sbin/smbd')) {
    if (!env.SOJOURN_E2E_SMB) console.log('no root or no smbd here: nothing is opened over SMB');
    return;
  }
  const { username, password } = JSON.parse(env.SOJOURN_E2E_SSH);
  const folder = mkdtempSync(join(tmpdir(), 'sojourn-e2e-smbd-'));
  undo.push(() => rmSync(folder, { recursive: true, force: true }));
  const port = 40_000 + (process.pid % 20_000);
  try {
    for (const part of ['private', 'lock', 'state', 'cache', 'rpc', 'logs', 'share']) mkdirSync(join(folder, part));
    chmodSync(folder, 0o755);
    chmodSync(join(folder, 'share'), 0o777);
    const config = join(folder, 'smb.conf');
    const places = [['private dir', 'private'], ['lock directory', 'lock'], ['state directory', 'state'], ['cache directory', 'cache'], ['pid directory', '.'], ['ncalrpc dir', 'rpc'], ['log file', 'logs/%m']];
    writeFileSync(
      config,
      ['[global]', 'workgroup = LAB', 'netbios name = LAB', 'server role = standalone server', 'interfaces = 127.0.0.1/8', 'bind interfaces only = yes', `smb ports = ${port}`, 'disable netbios = yes', 'map to guest = never', 'load printers = no', 'printing = bsd', 'printcap name = /dev/null', ...places.map(([name, part]) => `${name} = ${join(folder, part)}`), '[files]', `path = ${join(folder, 'share')}`, 'read only = no', ''].join('\n'),
    );
    execFileSync('smbpasswd', ['-c', config, '-L', '-s', '-a', username], { input: `${password}\n${password}\n`, stdio: ['pipe', 'ignore', 'pipe'] });
    // Without a process group of its own Samba ends whoever started it: its SIGTERM goes to its whole group.
    const [program, ...args] = [...prefix, '/usr/sbin/smbd', '--foreground', '--debug-stdout', '--configfile', config];
    const child = spawn(program, args, { stdio: 'ignore' });
    undo.push(() => child.kill('SIGTERM'));
    env.SOJOURN_E2E_SMB = JSON.stringify({ host: '127.0.0.1', port, username, password, share: 'files' });
  } catch (error) {
    console.log(`no smbd for the tests: ${String(error.stderr ?? error.message).trim()}`);
  }
}

/** Starts a desktop of one colour on the loopback, with a terminal in its corner: each line typed there is the desktop's next colour. */
async function xvnc(prefix) {
  if (env.SOJOURN_E2E_VNC || !existsSync('/usr/bin/Xtigervnc') || !existsSync('/usr/bin/xterm')) {
    if (!env.SOJOURN_E2E_VNC) console.log('no TigerVNC or no xterm here: no desktop is opened');
    return;
  }
  const folder = mkdtempSync(join(tmpdir(), 'sojourn-e2e-vnc-'));
  undo.push(() => rmSync(folder, { recursive: true, force: true }));
  const [port, password] = [10_000 + (process.pid % 10_000), 'tigers!!'];
  // In a process group of its own, which ends as a whole.
  const apart = (program, args, stdio, extra = {}) => {
    const [first, ...rest] = [...prefix, program, ...args];
    const child = spawn(first, rest, { stdio, detached: true, cwd: folder, env: { ...env, ...extra } });
    child.on('error', () => {});
    undo.push(() => process.kill(-child.pid, 'SIGTERM'));
    return child;
  };
  try {
    writeFileSync(join(folder, 'password'), execFileSync('tigervncpasswd', ['-f'], { input: `${password}\n` }));
    const options = ['-interface', '127.0.0.1', '-SecurityTypes', 'VncAuth', '-geometry', '800x600', '-depth', '24', '-nolisten', 'tcp', '-ac', '-br', '-AlwaysShared', '-BlacklistThreshold', '1000'];
    const server = apart('/usr/bin/Xtigervnc', ['-displayfd', '1', '-rfbport', String(port), '-PasswordFile', join(folder, 'password'), ...options], ['ignore', 'pipe', 'ignore']);
    const display = await new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('Xtigervnc did not get ready')), 30_000);
      server.on('exit', (code) => reject(new Error(`Xtigervnc ended with ${code}`)));
      createInterface({ input: server.stdout }).once('line', (line) => (clearTimeout(timer), resolve(`:${line}`)));
    });
    const extra = { DISPLAY: display };
    execFileSync(...((line) => [line[0], line.slice(1)])([...prefix, 'xsetroot', '-solid', '#204060']), { env: { ...env, ...extra } });
    apart('xterm', ['-geometry', '40x8+0+0', '-e', 'sh', '-c', 'while read -r colour; do xsetroot -solid "$colour"; done'], 'ignore', extra);
    env.SOJOURN_E2E_VNC = JSON.stringify({ host: '127.0.0.1', port, password, display });
  } catch (error) {
    console.log(`no desktop for the tests: ${String(error.stderr ?? error.message).trim()}`);
  }
}

/** Starts the test bed's RDP desktop, which ends when its standard input does. It is built with the tests, beside the server. */
async function rdp(prefix) {
  const built = join(dirname(env.SOJOURN_BIN), 'testbed-rdp');
  if (env.SOJOURN_E2E_RDP || !existsSync(built)) {
    if (!env.SOJOURN_E2E_RDP) console.log('no testbed-rdp beside the server: no desktop is opened over RDP');
    return;
  }
  const [program, ...args] = [...prefix, built];
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  undo.push(() => child.stdin.end());
  try {
    env.SOJOURN_E2E_RDP = await new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('testbed-rdp did not get ready')), 60_000);
      child.on('error', reject);
      child.on('exit', (code) => reject(new Error(`testbed-rdp ended with ${code}`)));
      createInterface({ input: child.stdout }).on('line', (line) => line.startsWith('{') && (clearTimeout(timer), resolve(line)));
    });
  } catch (error) {
    console.log(`no desktop over RDP for the tests: ${error.message}`);
  }
}

/** Starts a program and waits for lines that it prints. */
function start(program, args, extra, wanted) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd: web, env: { ...env, ...extra }, stdio: ['ignore', 'pipe', 'pipe'] });
    undo.push(() => child.kill('SIGTERM'));
    const found = {};
    const seen = [];
    const timer = setTimeout(() => reject(new Error(`${program} did not get ready; it printed:\n${seen.join('\n')}`)), 60_000);
    child.on('exit', (code) => reject(new Error(`${program} ended with ${code}; it printed:\n${seen.join('\n')}`)));
    const read = (line) => {
      seen.push(line);
      for (const [key, pattern] of Object.entries(wanted)) found[key] ??= pattern.exec(line)?.[1];
      if (/ (WARN|ERROR) /.test(line) && !line.includes('setup#code')) console.log(line);
      if (Object.keys(wanted).every((key) => found[key])) {
        clearTimeout(timer);
        resolve(found);
      }
    };
    for (const stream of [child.stdout, child.stderr]) createInterface({ input: stream }).on('line', read);
  });
}

async function main() {
  let prefix = [];
  if (!env.SOJOURN_URL && env.SOJOURN_BIN) {
    const name = network();
    if (name) prefix = ['ip', 'netns', 'exec', name];
    const data = mkdtempSync(join(tmpdir(), 'sojourn-e2e-'));
    undo.push(() => rmSync(data, { recursive: true, force: true }));
    const [program, ...args] = [...prefix, env.SOJOURN_BIN, 'serve', '--data-dir', data, '--http', '127.0.0.1:0', '--ssh', '127.0.0.1:0', '--timezone', 'Europe/Berlin'];
    const ready = await start(program, args, name ? {} : { SOJOURN_LOCAL_SOURCES: 'false' }, { address: /\bhttp=(\S+)/, code: /setup#code=(\S+)/ });
    env.SOJOURN_URL = `http://${ready.address}`;
    env.SOJOURN_SETUP_CODE = ready.code;
    sshd(prefix);
    smbd(prefix);
    await xvnc(prefix);
    await rdp(prefix);
  } else if (!env.SOJOURN_URL) {
    console.log('neither SOJOURN_URL nor SOJOURN_BIN is set: testing against the mock');
    env.SOJOURN_SETUP_CODE = 'mock-code';
    await start('node', ['node_modules/vite/bin/vite.js', 'preview', '--port', '4199', '--strictPort'], { MOCK_SETUP_CODE: 'mock-code', MOCK_ZONE: 'Europe/Berlin', NO_COLOR: '1' }, { address: /(127\.0\.0\.1|localhost):4199/ });
    env.SOJOURN_URL = 'http://localhost:4199';
    env.SOJOURN_E2E_SSH = JSON.stringify({ host: '127.0.0.1', port: 22, username: 'mock', password: 'mock' });
    env.SOJOURN_E2E_SMB = JSON.stringify({ host: '127.0.0.1', port: 445, username: 'mock', password: 'mock' });
  }
  const [program, ...args] = [...prefix, 'node', 'node_modules/@playwright/test/cli.js', 'test', '--config', 'e2e/playwright.config.ts', ...process.argv.slice(2)];
  const tests = spawn(program, args, { cwd: web, env, stdio: 'inherit' });
  return new Promise((resolve) => tests.on('exit', (code) => resolve(code ?? 1)));
}

let code = 1;
try {
  code = await main();
} catch (error) {
  console.error(error.message);
  console.log('0 passed, 1 failed');
}
cleanUp();
process.exit(code);

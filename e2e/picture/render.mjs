// Draws a dashboard as a picture: node render.mjs DASHBOARD.json PROMETHEUS_URL OUT.png MINUTES
//
// It serves the built page, the dashboard and, through itself, Prometheus to a headless Chromium, and prints what the page
// complains of: queries without an answer or with an error, variables without values.
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import puppeteer from 'puppeteer-core';

const [dashboard, prometheus, picture, minutes] = process.argv.slice(2);
const built = path.join(import.meta.dirname, 'dist');
const width = 1600;
const types = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' };

function serve(request, response) {
  const url = new URL(request.url, 'http://here');
  if (url.pathname === '/dashboard.json') return response.end(fs.readFileSync(dashboard));
  if (url.pathname.startsWith('/prometheus/')) return pass(prometheus + request.url.slice('/prometheus'.length), response);
  const file = path.join(built, url.pathname === '/' ? 'index.html' : url.pathname);
  if (!file.startsWith(built) || !fs.existsSync(file)) return response.writeHead(404).end();
  response.writeHead(200, { 'content-type': types[path.extname(file)] ?? 'application/octet-stream' });
  fs.createReadStream(file).pipe(response);
}

function pass(url, response) {
  http
    .get(url, (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    })
    .on('error', (err) => response.writeHead(502).end(JSON.stringify({ status: 'error', error: err.message })));
}

const server = http.createServer(serve);
await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
const browser = await puppeteer.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: [
    ...['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--hide-scrollbars'],
    ...['--disable-background-networking', '--disable-component-update'],
    '--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1',
  ],
});
let failed = false;
try {
  const page = await browser.newPage();
  await page.setViewport({ width, height: 1000 });
  page.on('pageerror', (err) => {
    failed = true;
    console.log(String(err.stack ?? err));
  });
  page.on('console', (message) => {
    const text = message.text();
    if (/^(EMPTY|ERROR|VARIABLE) /.test(text)) console.log(text.slice(0, 400));
    if (/^ERROR /.test(text)) failed = true;
  });
  await page.goto(`http://127.0.0.1:${server.address().port}/?minutes=${minutes ?? 180}&width=${width}`);
  await page.waitForFunction('window.drawn', { timeout: 120000 });
  const height = await page.evaluate('window.drawn');
  await page.setViewport({ width, height: Math.min(height, 12000) });
  await new Promise((done) => setTimeout(done, 1500)); // the panels draw themselves anew
  await page.screenshot({ path: picture });
} finally {
  await browser.close();
  server.close();
}
process.exit(failed ? 1 : 0);

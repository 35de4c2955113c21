import { mkdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Image, MANIFEST_TYPE, TAG } from './images.ts'
import { freePort, ServerProcess } from './processes.ts'
import { toolPath } from './tools.ts'

/** What both nginx servers share; started by root, its workers stay root: the folders are ours. */
function frameOf(folder: string, workers: string, http: string): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  return `daemon off;
${process.getuid?.() === 0 ? 'user root;' : ''}
pid ${folder}/nginx.pid;
worker_processes ${workers};
error_log stderr;
events { worker_connections 4096; }
http {
${temporary.map((each) => `  ${each}_temp_path ${folder}/${each};`).join('\n')}
  types {}
  default_type application/octet-stream;
  tcp_nopush on;
  keepalive_requests 100000000;
${http}
}
`
}

async function start(folder: string, conf: string, port: number): Promise<ServerProcess> {
  await mkdir(folder, { recursive: true })
  const confPath = join(folder, 'nginx.conf')
  await writeFile(confPath, conf)
  const command = [toolPath('nginx'), '-p', folder, '-e', 'stderr', '-c', confPath] as const
  const server = new ServerProcess(port, command, { logPath: join(folder, 'log') })
  await server.answering()
  return server
}

/** nginx as a cache with its lock: what the peers are measured against, though it verifies nothing. */
export async function startNginxCache(o: { folder: string; upstreamPort: number; sendfile: 'on' | 'off' }) {
  const port = await freePort()
  const http = `  sendfile ${o.sendfile};
  access_log ${o.folder}/access.log combined buffer=64k flush=1s;
  upstream origin { server 127.0.0.1:${o.upstreamPort}; keepalive 32; }
  proxy_cache_path ${o.folder}/cache levels=1:2 keys_zone=oci:16m max_size=50g inactive=24h use_temp_path=off;
  server {
    listen 127.0.0.1:${port};
    location / {
      proxy_pass http://origin;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_cache oci;
      proxy_cache_key $uri;
      proxy_cache_valid 200 10m;
      proxy_cache_lock on;
      proxy_cache_lock_age 600s;
      proxy_cache_lock_timeout 600s;
      proxy_cache_use_stale error timeout updating http_500 http_502 http_503 http_504;
    }
  }`
  return start(o.folder, frameOf(o.folder, 'auto', http), port)
}

/** What upstream sent since a moment: requests, and bytes of bodies. */
export type Sent = { readonly requests: number; readonly bytes: number }

/** The upstream of every cache in a run: static files in a registry's layout, each answer counted in its log. */
export class Upstream implements AsyncDisposable {
  readonly #folder: string
  readonly #port: number
  #conf = ''
  #server: ServerProcess | undefined

  constructor(folder: string, port: number) {
    this.#folder = folder
    this.#port = port
  }

  get port(): number {
    return this.#port
  }

  get server(): ServerProcess {
    if (this.#server === undefined) throw new Error('upstream is stopped')
    return this.#server
  }

  async start(blobsFolder: string, images: readonly Image[]): Promise<void> {
    this.#conf = this.#confOf(blobsFolder, images)
    await this.restart()
  }

  async restart(): Promise<void> {
    this.#server = await start(this.#folder, this.#conf, this.#port)
  }

  #confOf(blobsFolder: string, images: readonly Image[]): string {
    const manifest = `default_type ${MANIFEST_TYPE};`
    const http = `  sendfile on;
  log_format sent '$request_method $status $body_bytes_sent $uri';
  access_log ${this.#folder}/access.log sent;
  map_hash_bucket_size 512;
  map $uri $tagged {
    default "";
${images.map((each) => `    /v2/${each.name}/manifests/${TAG} ${each.manifest.digest};`).join('\n')}
  }
  server {
    listen 127.0.0.1:${this.#port};
    location = /v2/ { default_type application/json; return 200 '{}'; }
    location ~ ^/v2/.+/blobs/(?<digest>sha256:[0-9a-f]+)$ {
      alias ${blobsFolder}/$digest; add_header Docker-Content-Digest $digest;
    }
    location ~ ^/v2/.+/manifests/(?<digest>sha256:[0-9a-f]+)$ {
      alias ${blobsFolder}/$digest; add_header Docker-Content-Digest $digest; ${manifest}
    }
    location ~ ^/v2/.+/manifests/[^/]+$ {
      if ($tagged = "") { return 404; }
      alias ${blobsFolder}/$tagged; add_header Docker-Content-Digest $tagged; ${manifest}
    }
  }`
    return frameOf(this.#folder, '1', http)
  }

  async stop(): Promise<void> {
    await this.#server?.[Symbol.asyncDispose]()
    this.#server = undefined
  }

  /** A mark in the log, for `sentSince`. */
  async mark(): Promise<number> {
    return (await stat(join(this.#folder, 'access.log'))).size
  }

  /** What was sent since the mark for paths that hold `part`; GETs and HEADs alike are requests. */
  async sentSince(mark: number, part = ''): Promise<Sent> {
    const log = await readFile(join(this.#folder, 'access.log'))
    let requests = 0
    let bytes = 0
    for (const line of log.subarray(mark).toString('latin1').split('\n')) {
      const [method, , sentBytes, uri] = line.split(' ')
      if (uri === undefined || !uri.includes(part)) continue
      requests += 1
      if (method === 'GET') bytes += Number(sentBytes)
    }
    return { requests, bytes }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }
}

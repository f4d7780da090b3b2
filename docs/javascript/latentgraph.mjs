// A client of a latentgraph server, without dependencies, for browsers and Node.js. Its whole rule: keep the epoch and
// the number of the last event; drop what is not above it; on a gap subscribe again; send a submission that was not
// answered again, with its key. Then every event comes once, and in order.
const FOR_GOOD = { 4400: 'bad-request', 4401: 'unauthorized', 4403: 'forbidden', 4413: 'too-large' }

/** What the server refused: `code`, `message`, `temporary`, and for a wrong graph its `diagnostics`. */
export class ServerError extends Error {
  constructor(told) {
    Object.assign(super(told.message), told)
  }
}

const pause = (attempt, atLeast = 0) => {
  const backoff = Math.min(0.1 * 2 ** attempt, 10) * (0.5 + Math.random() / 2)
  return new Promise((resolve) => setTimeout(resolve, 1000 * Math.max(backoff, atLeast)))
}

export class Client {
  /** @param {string} url such as http://127.0.0.1:8765; @param {{token?: string}} options */
  constructor(url, { token } = {}) {
    Object.assign(this, { url: url.replace(/\/$/, ''), token })
    this.headers = token ? { Authorization: `Bearer ${token}` } : {}
  }

  /** What `read` makes of the answer to a request; asked again, up to ten times, while the server is away or busy. */
  async fetch(path, options = {}, read = (answer) => answer.json()) {
    for (let attempt = 0; ; attempt++) {
      let wait = 0 // seconds
      try {
        const answer = await fetch(this.url + path, { ...options, headers: { ...this.headers, ...options.headers } })
        if (answer.ok) return await read(answer)
        wait = Number(answer.headers.get('Retry-After')) || 0
        const told = await answer.json().catch(() => ({}))
        throw new ServerError(told.error ?? { message: `${path}: ${answer.status}`, temporary: answer.status > 501 })
      } catch (error) {
        if ((error instanceof ServerError && !error.temporary) || attempt === 10) throw error
      }
      await pause(attempt, Math.min(wait, 60))
    }
  }

  #post(path, body) {
    const headers = { 'Content-Type': 'application/json' }
    return this.fetch(path, { method: 'POST', headers, body: JSON.stringify(body) })
  }

  /** Send a Blob or bytes; gives what stands for the file in params. */
  async upload(content, name = content.name ?? 'file') {
    return (await this.fetch(`/v1/uploads?name=${encodeURIComponent(name)}`, { method: 'POST', body: content })).upload
  }

  /** Give the server a job: the name of a graph, its YAML text, or an object. Gives the job's id. */
  async submit(graph, params = {}, options = {}) {
    return (await this.#post('/v1/jobs', { key: crypto.randomUUID(), ...options, graph, params })).job
  }

  job = (job) => this.fetch(`/v1/jobs/${job}`)
  cancel = (job) => this.#post(`/v1/jobs/${job}/cancel`, {})
  /** The bytes of an output that is a file, as a Blob. */
  bytes = (file) => this.fetch(file.url, {}, (answer) => answer.blob())

  /** Submit a job and wait until it is over; gives the job with its `outputs`, whatever its `state` is. */
  async run(graph, params = {}, { onEvent = () => {}, ...options } = {}) {
    const job = await this.submit(graph, params, options)
    for await (const event of this.follow(job)) onEvent(event)
    return this.job(job)
  }

  /** The events of a job after the one numbered `after`, each once and in order, until the job is over. */
  async *follow(job, { after = 0, epoch, previews = false } = {}) {
    const position = { last: after, epoch }
    const events = globalThis.WebSocket ? this.#overWebSocket : this.#overHttp
    for (let attempt = 0; ; attempt++) {
      try {
        for await (const event of events.call(this, job, position, previews)) {
          if (event.seq <= position.last) continue
          if (event.seq > position.last + 1) throw new Error(`event ${position.last + 1} is missing`)
          ;[position.last, attempt] = [event.seq ?? position.last, 0]
          yield event
          if (event.event === 'run_finished') return
        }
        return
      } catch (error) {
        if (error instanceof ServerError && !error.temporary) throw error
      }
      await pause(attempt)
    }
  }

  async *#overWebSocket(job, position, previews) {
    const hello = { id: 1, do: 'hello', ...(this.token && { token: this.token }) }
    let id = 1
    for await (const [frame, send] of frames(`${this.url.replace(/^http/, 'ws')}/v1/ws`, hello)) {
      const subscribe = () => {
        send({ id: ++id, do: 'subscribe', job, previews, after: position.last, epoch: position.epoch })
      }
      if (frame instanceof ArrayBuffer) {
        const size = new DataView(frame).getUint32(0)
        const preview = JSON.parse(new TextDecoder().decode(new Uint8Array(frame, 4, size)))
        yield { ...preview, event: 'preview', image: new Blob([frame.slice(4 + size)], { type: preview.media }) }
      } else if (frame.error?.code === 'gone') {
        const { snapshot, epoch } = frame.error // where the job stands; its end is told as an event in any case
        Object.assign(position, { last: snapshot.last - ('finished' in snapshot), epoch })
        yield { event: 'snapshot', job, snapshot }
        subscribe()
      } else if (frame.error) throw new ServerError(frame.error)
      else if (frame.id === 1) {
        position.epoch ??= frame.ok.epoch
        subscribe()
      } else if (frame.event) yield frame
      else if (frame.progress) yield { event: 'progress', job, ...frame.progress }
      else if (frame.end) return
    }
  }

  /** Where there are no websockets; without progress and previews. */
  async *#overHttp(job, position) {
    const options = { headers: { Accept: 'text/event-stream' } }
    const body = await this.fetch(`/v1/jobs/${job}/events?after=${position.last}`, options, (answer) => answer.body)
    let text = ''
    for await (const piece of body.pipeThrough(new TextDecoderStream())) {
      const lines = (text + piece).split('\n')
      text = lines.pop()
      for (const line of lines) if (line.startsWith('data:')) yield JSON.parse(line.slice(5))
    }
    throw new Error('the stream ended before the job')
  }
}

/** What comes over a websocket, each frame with a function that answers; throws when it closes. */
async function* frames(url, hello) {
  const socket = new WebSocket(url, 'latentgraph.v1')
  const send = (message) => socket.send(JSON.stringify(message))
  let [waiting, wake, closed] = [[], () => {}]
  socket.binaryType = 'arraybuffer'
  socket.onopen = () => send(hello)
  socket.onmessage = ({ data }) => (waiting.push(typeof data === 'string' ? JSON.parse(data) : data), wake())
  socket.onclose = socket.onerror = (event) => ((closed ??= event), wake())
  try {
    while (true) {
      while (waiting.length) yield [waiting.shift(), send]
      const code = FOR_GOOD[closed?.code]
      if (closed) throw new ServerError({ code, message: closed.reason, temporary: !code })
      await new Promise((resolve) => (wake = resolve))
    }
  } finally {
    socket.close()
  }
}

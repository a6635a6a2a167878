// The frame of the program: what it tells the Go test, what it asks of it, and how it waits.
import { once } from "node:events";
import readline from "node:readline";

const answers = readline.createInterface({ input: process.stdin });

function tell(line) {
    process.stdout.write(JSON.stringify(line) + "\n");
}

// ask has the Go test do something with the server: "kill" (at once, and start again) or "stop" (in order, and start again); in a
// cluster, with one node after the other, and "move !room" to another node. Of two servers the first or second has "kill 1", "end 1" (at
// once) or "start 1" done to it.
export async function ask(what) {
    const answer = once(answers, "line");
    tell({ ask: what });
    const [line] = await answer;
    if (line !== "done") throw new Error(`the test could not ${what} the server: ${line}`);
}

// step runs one part; when it fails, those after it are not run, because they build on it.
export async function step(name, f) {
    tell({ begin: name });
    try {
        await f();
        tell({ end: name });
    } catch (e) {
        tell({ end: name, error: `${e.stack ?? e}${e.cause ? `\ncaused by ${e.cause.stack ?? e.cause}` : ""}` });
        process.exit(1);
    }
}

export function finish() {
    tell({ finished: true });
    process.exit(0);
}

const patience = 30_000; // ms
const waiters = new Set();

// listen has every event of the client look whether something that was waited for is there.
export function listen(client) {
    const emit = client.emit;
    client.emit = function (...args) {
        const result = emit.apply(this, args);
        queueMicrotask(pulse);
        return result;
    };
}

function pulse() {
    for (const look of [...waiters]) look();
}

// until waits until the condition gives something true, and returns that.
export function until(what, condition) {
    return new Promise((resolve, reject) => {
        const look = () => {
            let value;
            try {
                value = condition();
            } catch (e) {
                end(() => reject(e));
                return;
            }
            if (value) end(() => resolve(value));
        };
        const end = (f) => {
            clearTimeout(timer);
            clearInterval(again);
            waiters.delete(look);
            f();
        };
        const stack = new Error().stack;
        const timer = setTimeout(() => end(() => reject(new Error(`waited ${patience} ms for this, in vain: ${what}\n${stack}`))), patience);
        const again = setInterval(look, 100); // not everything that changes emits an event
        waiters.add(look);
        look();
    });
}

// eventually is until for conditions that ask somebody: it asks anew whenever something has happened, and a few times a second.
export async function eventually(what, condition) {
    const end = Date.now() + patience;
    for (;;) {
        const value = await condition();
        if (value) return value;
        if (Date.now() > end) throw new Error(`asked for ${patience} ms for this, in vain: ${what}`);
        await new Promise((resolve) => {
            const go = () => {
                clearTimeout(timer);
                waiters.delete(go);
                resolve();
            };
            const timer = setTimeout(go, 100);
            waiters.add(go);
        });
    }
}

export function check(condition, what) {
    if (!condition) throw new Error(`this does not hold: ${what}`);
}

// again repeats what failed because a server was away.
export async function again(f) {
    for (let n = 0; ; n++) {
        try {
            return await f();
        } catch (e) {
            if (n === 20 || e.errcode) throw e;
        }
    }
}

export function equal(got, want, what) {
    const [a, b] = [JSON.stringify(got), JSON.stringify(want)];
    if (a !== b) throw new Error(`${what}: ${a} instead of ${b}`);
}

// node run.mjs URL: uses the homeserver at the URL as clients do, and tells the Go test beside it how that goes.
import { finish } from "./harness.mjs";
import { encryption } from "./encryption.mjs";
import { proposals } from "./proposals.mjs";
import { rooms } from "./rooms.mjs";

await encryption();
await rooms();
await proposals();
finish();

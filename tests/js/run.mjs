// node run.mjs URL[,URL…]: uses the homeserver at the URLs as clients do, and tells the Go test beside it how that goes.
import { finish } from "./harness.mjs";
import { encryption } from "./encryption.mjs";
import { proposals } from "./proposals.mjs";
import { rooms } from "./rooms.mjs";
import { sliding } from "./sliding.mjs";

await encryption();
await rooms();
await proposals();
await sliding();
finish();

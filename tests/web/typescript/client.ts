// Calls every operation of a site, whose address is the argument, and prints each one's status.
// A path that is missing here, or that the description lacks, does not compile.
import createClient from "openapi-fetch";
import type { PathsWithMethod } from "openapi-typescript-helpers";
import type { paths } from "./api.js";

declare const process: { argv: string[] };

const [baseUrl, room, homeserver, edition] = process.argv.slice(2) as [string, string, string, string];
const client = createClient<paths>({ baseUrl, redirect: "manual" });

type Call = () => Promise<{ response: Response; data?: unknown }>;
const named = { params: { path: { name: homeserver } } };
const frozen = { params: { path: { name: edition } } };
const ofRoom = { params: { path: { room } } };
const moved = { params: { query: { room_id: room } } };
const text = { parseAs: "text" } as const;

const calls: Record<PathsWithMethod<paths, "get">, Call> = {
  "/api/v1": () => client.GET("/api/v1"),
  "/api/v1/rankings": () => client.GET("/api/v1/rankings", { params: { query: { board: "response", limit: 5 } } }),
  "/api/v1/rooms": () => client.GET("/api/v1/rooms"),
  "/api/v1/editions": () => client.GET("/api/v1/editions"),
  "/api/v1/homeservers": () => client.GET("/api/v1/homeservers"),
  "/api/v1/homeservers/{name}": () => client.GET("/api/v1/homeservers/{name}", named),
  "/api/v1/homeservers/{name}/history": () => client.GET("/api/v1/homeservers/{name}/history", named),
  "/api/v1/matrix": () => client.GET("/api/v1/matrix"),
  "/api/v1/samples": () => client.GET("/api/v1/samples"),
  "/api/v1/live": () => client.GET("/api/v1/live", { parseAs: "stream" }),
  "/rankings.md": () => client.GET("/rankings.md", text),
  "/rankings.csv": () => client.GET("/rankings.csv", text),
  "/section.md": () => client.GET("/section.md", text),
  "/editions/{name}.json": () => client.GET("/editions/{name}.json", frozen),
  "/editions/{name}.md": () => client.GET("/editions/{name}.md", { ...frozen, ...text }),
  "/feed.atom": () => client.GET("/feed.atom", text),
  "/homeservers/{name}/feed.atom": () => client.GET("/homeservers/{name}/feed.atom", { ...named, ...text }),
  "/homeservers/{name}/history.svg": () => client.GET("/homeservers/{name}/history.svg", { ...named, ...text }),
  "/badge/{name}.svg": () => client.GET("/badge/{name}.svg", { ...named, ...text }),
  "/badge/{name}.json": () => client.GET("/badge/{name}.json", named),
  "/_matrix/maubot/plugin/pingstat/stats": () => client.GET("/_matrix/maubot/plugin/pingstat/stats", moved),
  "/_matrix/maubot/plugin/pingstat/stats.json": () =>
    client.GET("/_matrix/maubot/plugin/pingstat/stats.json", moved),
  "/_matrix/maubot/plugin/pingstat/stats.raw.json": () =>
    client.GET("/_matrix/maubot/plugin/pingstat/stats.raw.json", moved),
  "/_matrix/maubot/plugin/pingstat/{room}/stats": () =>
    client.GET("/_matrix/maubot/plugin/pingstat/{room}/stats", { ...ofRoom, ...text }),
  "/_matrix/maubot/plugin/pingstat/{room}/stats.json": () =>
    client.GET("/_matrix/maubot/plugin/pingstat/{room}/stats.json", ofRoom),
  "/_matrix/maubot/plugin/pingstat/{room}/stats.raw.json": () =>
    client.GET("/_matrix/maubot/plugin/pingstat/{room}/stats.raw.json", ofRoom),
  "/healthz": () => client.GET("/healthz"),
  "/readyz": () => client.GET("/readyz"),
  "/metrics": () => client.GET("/metrics", text),
};

const statuses: Record<string, number> = {};
for (const [path, call] of Object.entries(calls)) {
  const { response, data } = await call();
  statuses[path] = response.status;
  if (data instanceof ReadableStream) await data.cancel();
}

const { data: board, error } = await client.GET("/api/v1/rankings");
if (error) throw new Error(error.title);
// One of three forms, by Accept; JSON is what openapi-fetch asks for.
if (typeof board === "string") throw new Error(board);
const medians = board.standings.map((row): [number, string, number] => [row.rank, row.homeserver, row.median_ms]);
console.log(JSON.stringify({ statuses, medians, generated_at: new Date(board.generated_at) }));

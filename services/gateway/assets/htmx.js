// Extensions of htmx look for it as a global.
import htmx from "htmx.org/dist/htmx.esm.js";

globalThis.htmx = htmx;

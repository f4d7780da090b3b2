// Pictures from the server: fetched, since a token goes into a header, and only when they come near the view.

import { send } from "./api.js";

const KEPT = 300;
const pictures = new Map();
const loaded = new Map();

/** The picture at an address of the server as an address of the browser's own. */
export function pictureOf(url) {
  if (!pictures.has(url)) {
    const loading = send("GET", url).then(async (response) => URL.createObjectURL(await response.blob()));
    pictures.set(url, loading);
    loading.then((address) => loaded.set(url, address), () => pictures.delete(url));
    if (pictures.size > KEPT) forget(...pictures.entries().next().value);
  }
  return pictures.get(url);
}

/** The same where it is there already, else undefined. */
export const loadedPicture = (url) => loaded.get(url);

function forget(url, loading) {
  pictures.delete(url);
  loaded.delete(url);
  loading.then(URL.revokeObjectURL, () => {});
}

const seen = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue;
    seen.unobserve(target);
    load(target);
  }
}, { rootMargin: "200px" });

async function load(image) {
  try {
    image.src = await pictureOf(image.dataset.url);
  } catch {
    image.classList.add("broken");
    image.alt = `${image.alt} (could not be loaded)`;
  }
}

/** An image element that shows what is at an address of the server once it is near the view. */
export function picture(url, alt, attributes = {}) {
  const image = document.createElement("img");
  image.alt = alt;
  image.dataset.url = url;
  for (const [name, value] of Object.entries(attributes)) image.setAttribute(name, value);
  seen.observe(image);
  return image;
}

/** Saves a file of the server under its name. */
export async function download(file) {
  const link = document.createElement("a");
  link.href = await pictureOf(file.url);
  link.download = file.file;
  link.click();
}

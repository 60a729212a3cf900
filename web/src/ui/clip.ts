/* What is cut short says all of it by its title when it is pointed at. */
export function startClips(): void {
  addEventListener(
    'pointerover',
    (event) => {
      const cut = (event.target as Element).closest<HTMLElement>('.clip');
      if (cut && cut.scrollWidth > cut.clientWidth) cut.title = cut.innerText;
    },
    { passive: true },
  );
}

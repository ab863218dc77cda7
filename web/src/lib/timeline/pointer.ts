// Dragging, pinching and wheeling over a stretch of time.
import { pan, zoom, type View } from './view';

export interface Target {
  view: () => View;
  width: () => number;
  /** Where time begins within the element, in px. */
  left: () => number;
  move: (view: View) => void;
}

/** A Svelte action. Vertical movement stays the browser's own: it scrolls. */
export function timePointer(element: HTMLElement, target: Target) {
  const pointers = new Map<number, { x: number; y: number }>();
  let dragging = false;
  let moved = false;

  const msPerPx = () => (target.view().to - target.view().from) / target.width();
  const timeAt = (clientX: number) => target.view().from + (clientX - element.getBoundingClientRect().left - target.left()) * msPerPx();

  function down(event: PointerEvent) {
    if (event.button !== 0 || (event.target as Element).closest('a,button')) return;
    pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    moved = false;
    dragging = event.pointerType === 'mouse';
  }

  function move(event: PointerEvent) {
    const before = pointers.get(event.pointerId);
    if (!before) return;
    const others = [...pointers.entries()].filter(([id]) => id !== event.pointerId);
    if (others.length) {
      const other = others[0]![1];
      const was = Math.abs(before.x - other.x);
      const is = Math.abs(event.clientX - other.x);
      if (was > 12 && is > 12) target.move(zoom(target.view(), was / is, timeAt((event.clientX + other.x) / 2), Date.now()));
    } else {
      const dx = event.clientX - before.x;
      if (!moved && Math.abs(dx) < 4) return;
      if (!moved) {
        moved = true;
        dragging = true;
        element.setPointerCapture(event.pointerId);
      }
      target.move(pan(target.view(), -dx * msPerPx(), Date.now()));
    }
    pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  }

  function up(event: PointerEvent) {
    pointers.delete(event.pointerId);
    dragging = false;
  }

  function wheel(event: WheelEvent) {
    const unit = event.deltaMode === 1 ? 16 : 1;
    if (event.ctrlKey || event.metaKey || event.altKey) {
      event.preventDefault();
      target.move(zoom(target.view(), Math.exp((event.deltaY * unit) / 400), timeAt(event.clientX), Date.now()));
    } else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      event.preventDefault();
      const delta = (event.deltaX || event.deltaY) * unit;
      target.move(pan(target.view(), delta * msPerPx(), Date.now()));
    }
  }

  function double(event: MouseEvent) {
    if (!(event.target as Element).closest('a,button')) target.move(zoom(target.view(), 0.5, timeAt(event.clientX), Date.now()));
  }

  element.addEventListener('pointerdown', down);
  element.addEventListener('pointermove', move);
  element.addEventListener('pointerup', up);
  element.addEventListener('pointercancel', up);
  element.addEventListener('wheel', wheel, { passive: false });
  element.addEventListener('dblclick', double);
  return {
    get dragging() {
      return dragging;
    },
    destroy() {
      element.removeEventListener('pointerdown', down);
      element.removeEventListener('pointermove', move);
      element.removeEventListener('pointerup', up);
      element.removeEventListener('pointercancel', up);
      element.removeEventListener('wheel', wheel);
      element.removeEventListener('dblclick', double);
    },
  };
}

/** Moves by keyboard: arrows pan, plus and minus zoom, End goes to now. */
export function timeKey(event: KeyboardEvent, view: View): View | null {
  const span = view.to - view.from;
  const middle = (view.from + view.to) / 2;
  const now = Date.now();
  switch (event.key) {
    case 'ArrowLeft':
      return pan(view, -span * (event.shiftKey ? 0.5 : 0.1), now);
    case 'ArrowRight':
      return pan(view, span * (event.shiftKey ? 0.5 : 0.1), now);
    case '+':
    case '=':
      return zoom(view, 0.7, middle, now);
    case '-':
      return zoom(view, 1 / 0.7, middle, now);
    case 'End':
      return { from: now - span * 0.98, to: now + span * 0.02 };
    default:
      return null;
  }
}

import { useEffect, useState } from 'preact/hooks';

const query = matchMedia('(max-width: 720px)');

/** Whether the window is as narrow as a phone's; for what styles alone cannot say. */
export function useNarrow() {
  const [narrow, setNarrow] = useState(query.matches);
  useEffect(() => {
    const look = () => setNarrow(query.matches);
    query.addEventListener('change', look);
    return () => query.removeEventListener('change', look);
  }, []);
  return narrow;
}

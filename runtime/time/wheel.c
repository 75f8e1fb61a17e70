/* See wheel.h. Level l has slots of 64^l ticks. The highest group of six bits in which a timer's
 * tick differs from the wheel's is its level, and that group of the timer's tick is its slot:
 *
 *     tick   ...|level 6|level 5|level 4|level 3|level 2|level 1|level 0|      6 bits each
 *
 * When the wheel comes to the start of a slot above level 0, that slot's timers are put again,
 * lower (a cascade), or have expired. The times of long sleeps are rounded to where slots begin, so
 * that often all of a slot have: then it is taken as a whole, without a look at its timers, each of
 * which would be a cache miss. Advancing leaps from one occupied slot to the next, so an
 * idle hour costs nothing.
 *
 * Invariants:
 *   [slot]      a timer is in the slot that its tick selects, on a level low enough that the slot
 * comes up, after the present tick, not later than the timer is due; [occupied]  bit s of
 * occupied[l] is set exactly if slot[l][s] is not empty; [mixed]   without bit s of mixed[l] all
 * timers in slot[l][s] are due as the slot begins; [overdue]   the present slot of level 0
 * holds what was late when it was put, and nothing else; the present slots of levels 1 to 5 are
 * empty; that of level 6 comes up after a whole turn.
 */
#include "runtime/time/wheel.h"

#include <stdint.h>

#define SLOT_BITS 6
#define HORIZON ((uint64_t)1 << (SLOT_BITS * FILCH__WHEEL_LEVELS))

/* The first tick at whose start @when has passed. */
static uint64_t tick_of(filch_time when)
{
    uint64_t down = when >> FILCH__WHEEL_TICK_SHIFT;

    return (down << FILCH__WHEEL_TICK_SHIFT) == when ? down : down + 1;
}

static unsigned slot_of(uint64_t tick, unsigned level)
{
    return (unsigned)(tick >> (SLOT_BITS * level)) % FILCH__WHEEL_SLOTS;
}

/* The highest group of bits in which the two ticks differ decides. */
static unsigned level_of(uint64_t now, uint64_t tick)
{
    uint64_t differ = now ^ tick;

    return differ ? (63u - (unsigned)__builtin_clzll(differ)) / SLOT_BITS : 0;
}

void filch__wheel_init(struct filch__wheel *wheel, filch_time now)
{
    wheel->tick = now >> FILCH__WHEEL_TICK_SHIFT;
    for (unsigned l = 0; l < FILCH__WHEEL_LEVELS; l++) {
        wheel->occupied[l] = wheel->mixed[l] = 0;
        for (unsigned s = 0; s < FILCH__WHEEL_SLOTS; s++)
            filch__list_init(&wheel->slot[l][s]);
    }
}

static void put(struct filch__wheel *wheel, struct filch__timer *timer)
{
    uint64_t tick = tick_of(timer->when);
    bool far = false;
    unsigned level, slot;

    if (tick < wheel->tick)
        tick = wheel->tick; /* overdue: in our own slot of level 0 */
    else if (tick - wheel->tick >= HORIZON) {
        tick = wheel->tick + HORIZON - 1; /* waits as long as it can, and is put again then */
        far = true;
    }
    level = level_of(wheel->tick, tick);
    /* The bits above the last level may differ too: the slot then comes up in the wheel's next
     * turn. */
    if (level >= FILCH__WHEEL_LEVELS)
        level = FILCH__WHEEL_LEVELS - 1;
    slot = slot_of(tick, level);
    filch__list_push_back(&wheel->slot[level][slot], &timer->link);
    wheel->occupied[level] |= (uint64_t)1 << slot;
    if (far || tick & (((uint64_t)1 << SLOT_BITS * level) - 1))
        wheel->mixed[level] |= (uint64_t)1 << slot;
}

void filch__wheel_insert(struct filch__wheel *wheel, struct filch__timer *timer, filch_time when)
{
    timer->when = when;
    put(wheel, timer);
}

void filch__wheel_remove(struct filch__wheel *wheel, struct filch__timer *timer)
{
    struct filch__list *next = timer->link.next;
    uintptr_t offset;
    uint64_t bit;

    filch__list_remove(&timer->link);
    if (!filch__list_is_empty(next))
        return;
    /* It was the last: `next` is the sentinel, whose place tells which bit to clear; none of ours
     * when the timer was already among the expired. */
    offset = ((uintptr_t)next - (uintptr_t)&wheel->slot[0][0]) / sizeof(struct filch__list);
    if (offset >= FILCH__WHEEL_LEVELS * FILCH__WHEEL_SLOTS)
        return;
    bit = (uint64_t)1 << offset % FILCH__WHEEL_SLOTS;
    wheel->occupied[offset / FILCH__WHEEL_SLOTS] &= ~bit;
    wheel->mixed[offset / FILCH__WHEEL_SLOTS] &= ~bit;
}

/* Moves everything out of a slot to the end of @to. Of many timers each is a cache miss, so none is
 * touched that need not be. */
static void take_slot(struct filch__wheel *wheel, unsigned level, unsigned slot,
                      struct filch__list *to)
{
    wheel->occupied[level] &= ~((uint64_t)1 << slot);
    wheel->mixed[level] &= ~((uint64_t)1 << slot);
    filch__list_splice_back(to, &wheel->slot[level][slot]);
}

/* The wheel has come to a tick where the slots of @level change: puts the timers of the new slot
 * again. */
static void cascade(struct filch__wheel *wheel, unsigned level, struct filch__list *expired)
{
    unsigned slot = slot_of(wheel->tick, level);
    struct filch__list again;
    struct filch__list *link, *next;

    if (!(wheel->mixed[level] >> slot & 1)) {
        take_slot(wheel, level, slot, expired);
        return;
    }
    filch__list_init(&again);
    take_slot(wheel, level, slot, &again);
    for (link = again.next; link != &again; link = next) {
        struct filch__timer *timer = filch_container_of(link, struct filch__timer, link);

        next = link->next;
        if (tick_of(timer->when) <= wheel->tick)
            filch__list_push_back(expired, link);
        else
            put(wheel, timer);
    }
}

/* When the first occupied slot of a level comes up, after the present tick. The level is not empty.
 */
static uint64_t level_event(const struct filch__wheel *wheel, unsigned level)
{
    unsigned shift = SLOT_BITS * level;
    unsigned here = slot_of(wheel->tick, level);
    uint64_t occupied = wheel->occupied[level];
    /* Turned so that the slot after ours is bit 0, and ours is bit 63. */
    uint64_t turned = here == 63 ? occupied : occupied >> (here + 1) | occupied << (63 - here);
    unsigned away = (unsigned)__builtin_ctzll(turned) + 1;

    return ((wheel->tick >> shift) + away) << shift;
}

/* The next tick, after the present one, at which any slot comes up; UINT64_MAX when the wheel is
 * empty. */
static uint64_t next_event(const struct filch__wheel *wheel)
{
    uint64_t best = UINT64_MAX;

    for (unsigned l = 0; l < FILCH__WHEEL_LEVELS; l++)
        if (wheel->occupied[l]) {
            uint64_t tick = level_event(wheel, l);

            if (tick < best)
                best = tick;
        }
    return best;
}

static bool has_overdue(const struct filch__wheel *wheel)
{
    return wheel->occupied[0] >> slot_of(wheel->tick, 0) & 1;
}

void filch__wheel_advance(struct filch__wheel *wheel, filch_time now, struct filch__list *expired)
{
    uint64_t until = now >> FILCH__WHEEL_TICK_SHIFT;

    if (has_overdue(wheel))
        take_slot(wheel, 0, slot_of(wheel->tick, 0), expired);
    while (wheel->tick < until) {
        uint64_t event = next_event(wheel);
        unsigned level;

        if (event > until) {
            wheel->tick = until;
            return;
        }
        wheel->tick = event;
        /* From the highest level whose slot changes here, so that timers fall through all of them
         * at once. */
        level = (unsigned)__builtin_ctzll(event) / SLOT_BITS;
        if (level >= FILCH__WHEEL_LEVELS)
            level = FILCH__WHEEL_LEVELS - 1;
        for (; level > 0; level--)
            cascade(wheel, level, expired);
        take_slot(wheel, 0, slot_of(event, 0), expired);
    }
}

filch_time filch__wheel_next(const struct filch__wheel *wheel)
{
    uint64_t event;

    if (has_overdue(wheel))
        return FILCH_NOW;
    event = next_event(wheel);
    /* No clock gets there. */
    if (event > UINT64_MAX >> FILCH__WHEEL_TICK_SHIFT)
        return FILCH_NEVER;
    return event << FILCH__WHEEL_TICK_SHIFT;
}

/* [slot], [mixed], [overdue] for one timer. */
static bool is_well_placed(const struct filch__wheel *wheel, unsigned level, unsigned slot,
                           const struct filch__list *link)
{
    const struct filch__timer *timer = filch_container_of(link, const struct filch__timer, link);
    unsigned shift = SLOT_BITS * level;
    uint64_t tick = tick_of(timer->when);
    uint64_t away = (slot - slot_of(wheel->tick, level)) % FILCH__WHEEL_SLOTS;
    uint64_t start;

    if (away == 0 && level == 0)
        return tick <= wheel->tick;
    if (away == 0 && level < FILCH__WHEEL_LEVELS - 1)
        return false;
    start = ((wheel->tick >> shift) + (away ? away : FILCH__WHEEL_SLOTS)) << shift;
    /* In the last level a far timer lies in some slot before its own. */
    if (!(wheel->mixed[level] >> slot & 1) && tick != start)
        return false;
    return tick >= start && (level == FILCH__WHEEL_LEVELS - 1 || tick >> shift == start >> shift);
}

static bool slot_is_valid(const struct filch__wheel *wheel, unsigned level, unsigned slot)
{
    const struct filch__list *list = &wheel->slot[level][slot];
    bool marked = wheel->occupied[level] >> slot & 1;

    if (marked == filch__list_is_empty(list) || list->next->prev != list)
        return false;
    for (const struct filch__list *link = list->next; link != list; link = link->next)
        if (link->next->prev != link || !is_well_placed(wheel, level, slot, link))
            return false;
    return true;
}

bool filch__wheel_is_valid(const struct filch__wheel *wheel)
{
    for (unsigned l = 0; l < FILCH__WHEEL_LEVELS; l++)
        for (unsigned s = 0; s < FILCH__WHEEL_SLOTS; s++)
            if (!slot_is_valid(wheel, l, s))
                return false;
    return true;
}

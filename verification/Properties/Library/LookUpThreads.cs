using System.Globalization;
using Platform;
using Vcmm;

namespace Properties.Library;

/// <summary>
/// Look-ups take no lock: beside a thread that changes what is backed with what, each finds what was so at an instant. Two memories lie behind one
/// range by turns, page for page, so that what is put together of two instants is another page. What is right passes in every order.
/// </summary>
[Trait("Category", "Threads")]
public sealed class LookUpThreads : IDisposable
{
    private const ulong Page = SmallSystem.Page;
    private const int PageCount = 16;
    private const int Rounds = 60_000;

    private readonly SmallSystem _system = new();
    private readonly Vcm _changing;
    private readonly Vcm _other;
    private readonly PhysicalAllocation[] _memories;
    private readonly Iova[] _elsewhere;
    private readonly Iova _first = new(1 << 24);
    private volatile bool _hasEnded;

    public LookUpThreads()
    {
        _changing = _system.CreateVcm();
        _other = _system.CreateVcm();
        _memories = [_system.Manager.Allocate(PageCount * Page), _system.Manager.Allocate(PageCount * Page)];
        _elsewhere = Array.ConvertAll(_memories, memory => _other.Map(memory).Range.First);
    }

    public void Dispose() => _system.Dispose();

    [Fact]
    public void An_address_is_behind_the_same_page_in_another_region_or_not_backed_at_all() => Beside(ChangeBackings, random =>
    {
        int page = random.Next(PageCount);
        VcmmError error = _changing.TryTranslate(_first + (ulong)page * Page, _other, out Iova found);
        bool isEither = Array.Exists(_elsewhere, first => found == first + (ulong)page * Page);
        // The first page has the same memory behind it all the time, whatever moves beside it.
        if (page == 0) return error == VcmmError.None && found == _elsewhere[0];
        return error == VcmmError.Fault || (error == VcmmError.None && isEither);
    });

    [Fact]
    public void A_page_is_found_where_it_is_and_nowhere_else() => Beside(ChangeBackings, random =>
    {
        int page = random.Next(PageCount);
        int which = random.Next(2);
        var mappings = new List<Mapping>();
        if (_system.Manager.TryFindMappings(_memories[which].AddressAt((ulong)page * Page), mappings) != VcmmError.None) return false;
        int elsewhere = mappings.RemoveAll(mapping => mapping.Address == _elsewhere[which] + (ulong)page * Page);
        int here = mappings.RemoveAll(mapping => mapping.Address == _first + (ulong)page * Page);
        bool isRight = page != 0 ? here <= 1 : here == (which == 0 ? 1 : 0);
        return elsewhere == 1 && isRight && mappings.Count == 0;
    });

    /// <summary>Two places that are a reservation's by turns, made of the same parts: what was its at the one must not be found at the other.</summary>
    [Fact]
    public void A_reservation_that_ended_is_not_taken_for_the_next() => Beside(MoveReservation, random =>
    {
        int which = random.Next(2);
        Iova address = PlaceOf(which);
        VcmmError error = _changing.TryTranslate(address, _other, out Iova found);
        return error == VcmmError.Fault || (error == VcmmError.None && found == _elsewhere[which]);
    });

    private Iova PlaceOf(int which) => _first + (which == 0 ? 0 : 64 * Page);

    private void ChangeBackings(Random random, Reservation reservation)
    {
        ulong offset = (ulong)random.Next(1, PageCount) * Page;
        ulong byteCount = Math.Min((ulong)random.Next(1, PageCount) * Page, PageCount * Page - offset);
        if (random.Next(2) == 0) reservation.TryUnback(offset, byteCount);
        else reservation.TryBack(offset, _memories[random.Next(2)], offset, byteCount);
    }

    private void MoveReservation(Random random, Reservation reservation)
    {
        if (reservation.IsAlive)
        {
            reservation.Unback();
            reservation.Unreserve();
        }

        int which = random.Next(2);
        Reservation made = _changing.ReserveAt(PlaceOf(which), PageCount * Page);
        made.Back(_memories[which]);
        made.Unback();
        made.Unreserve();
    }

    private void Beside(Action<Random, Reservation> change, Func<Random, bool> isRight)
    {
        Reservation reservation = _changing.ReserveAt(_first, PageCount * Page);
        reservation.Back(0, _memories[0], 0, Page);
        Exception? failure = null;
        int lookUpCount = 0;
        int wrongCount = 0;
        using var start = new Barrier(2);
        var looker = new Thread(() =>
        {
            try
            {
                var random = new Random(2);
                start.SignalAndWait();
                for (; !_hasEnded || lookUpCount == 0; lookUpCount++)
                {
                    if (!isRight(random)) wrongCount++;
                }
            }
            catch (Exception e)
            {
                failure = e;
            }
        });
        looker.Start();
        start.SignalAndWait();
        var changes = new Random(1);
        for (int round = 0; round < Rounds; round++) change(changes, reservation);
        _hasEnded = true;
        looker.Join();
        Assert.Null(failure);
        Assert.True(wrongCount == 0, string.Create(CultureInfo.InvariantCulture, $"{wrongCount} of {lookUpCount} look-ups found what never was"));
    }
}

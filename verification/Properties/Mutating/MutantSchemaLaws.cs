using System.Reflection;
using System.Runtime.Loader;
using Harness;
using Microsoft.CodeAnalysis.Text;
using Mutation.Schema;

namespace Properties.Mutating;

/// <summary>Mutants in one assembly: each is the library with one change, and with none active it is the library.</summary>
public sealed class MutantSchemaLaws
{
    private const string Source =
        """
        using System.Collections.Generic;
        namespace Given;
        public class Members
        {
            private int _kept = 1;
            private int[] _many = [1];
            public Members() { _kept = 10; }
            public Members(int kept) => _kept = kept + 20;
            public int Kept { get => _kept; set => _kept = value + 30; }
            public int Twice => _kept * 40;
            public int this[int i] => i + 50;
            public ref int Place() => ref _many[0];
            public int Block() { int there = 60; if (_kept == 0) return 0; return there; }
            public void Nothing() { _kept += 70; }
            public void Arrow() => _kept += 80;
            public IEnumerable<int> Several() { yield return 90; }
            public int Nested() { int Inner() => 100; return Inner(); }
            public bool Out(out int given) { given = 110; return true; }
            public int Refuses() => throw new System.InvalidOperationException("120");
            public static int operator +(Members one, int more) => one._kept + more + 130;
        }
        """;

    private static readonly LibrarySources Sources = new(("a.cs", Source));

    /// <summary>A number of the source that becomes another; what is to be seen of it before and after.</summary>
    public static TheoryData<string, string> Changes => new()
    {
        { "10", "constructed" }, { "20", "constructed with a value" }, { "30", "set" }, { "40", "property" }, { "50", "indexer" }, { "60", "block" }, { "70", "nothing" },
        { "80", "arrow" }, { "90", "several" }, { "100", "nested" }, { "110", "out" }, { "120", "refuses" }, { "130", "operator" },
    };

    [Theory]
    [MemberData(nameof(Changes))]
    public void Each_kind_of_member_can_be_changed(string number, string what)
    {
        // All at once, as in the library; one is active.
        string[] numbers = [.. Changes.Select(static row => (string)((object[])row)[0])];
        MutatedLibrary library = MutantSchema.Compile(Sources, [.. numbers.Select(ToThousands)]);
        Assert.Empty(library.Broken);
        Dictionary<string, string> asIs = Behaviour(library, 0);
        Dictionary<string, string> changed = Behaviour(library, Array.IndexOf(numbers, number) + 1);
        Assert.Equal(Plain(), asIs);
        Assert.NotEqual(asIs[what], changed[what]);
        // A constructor's value shows elsewhere, too.
        if (what is not ("constructed" or "set")) Assert.Equal(asIs.Where(pair => pair.Key != what), changed.Where(pair => pair.Key != what));
    }

    [Fact]
    public void One_mutant_may_change_several_members_and_one_member_have_several_mutants()
    {
        Mutant both = new("both", "test", "", [.. ToThousands("60").Edits, .. ToThousands("90").Edits]);
        MutatedLibrary library = MutantSchema.Compile(Sources, [both, ToThousands("60"), ToThousands("90")]);
        string[] differences = [.. Enumerable.Range(0, 4).Select(number => string.Join(", ", Behaviour(library, number).Except(Plain()).Select(static pair => pair.Key)))];
        Assert.Equal(["", "block, several", "block", "several"], differences);
    }

    [Fact]
    public void What_cannot_be_compiled_is_left_out_and_named()
    {
        Mutant broken = new("broken", "test", "", [Edit("there = 60", "there = nowhere")]);
        MutatedLibrary library = MutantSchema.Compile(Sources, [broken, ToThousands("60"), ToThousands("90")]);
        Assert.Equal([1], library.Broken.Keys);
        Assert.Contains("nowhere", library.Broken[1], StringComparison.Ordinal);
        Assert.Equal(Plain(), Behaviour(library, 1));
        Assert.NotEqual(Plain()["block"], Behaviour(library, 2)["block"]);
    }

    /// <summary>Whichever is active: what is called is noted of each that would change it, up to the one that does.</summary>
    [Theory]
    [InlineData(0, "20 60 60+90")]
    [InlineData(2, "20 60")]
    [InlineData(4, "20 60 60+90")]
    public void What_is_reached_is_noted(int active, string reached)
    {
        Mutant both = new("60+90", "test", "", [.. ToThousands("60").Edits, .. ToThousands("90").Edits]);
        Mutant[] mutants = [ToThousands("20"), ToThousands("60"), both, ToThousands("70")];
        string file = Path.GetTempFileName();
        File.WriteAllBytes(file, new byte[mutants.Length + 1]);
        Environment.SetEnvironmentVariable(MutantSchema.ReachedVariable, file);
        try
        {
            Run(MutantSchema.Compile(Sources, mutants), active, static type =>
            {
                dynamic it = Activator.CreateInstance(type, 1)!;
                return (int)it.Block();
            });
            byte[] noted = File.ReadAllBytes(file);
            Assert.Equal(reached, string.Join(' ', mutants.Where((_, i) => noted[i + 1] == 1).Select(static mutant => mutant.Name)));
            Assert.Equal(0, noted[0]);
        }
        finally
        {
            Environment.SetEnvironmentVariable(MutantSchema.ReachedVariable, null);
            File.Delete(file);
        }
    }

    [Theory]
    [InlineData("_kept = 1;", "_kept = 2;")]
    [InlineData("public int Block", "public int Bloc")]
    [InlineData("{ int there", "(( int there")]
    public void What_is_in_no_body_is_refused(string there, string instead) =>
        Assert.Throws<BadInputException>(() => MutantSchema.Compile(Sources, [new("outside", "test", "", [Edit(there, instead)])]));

    [Fact]
    public void Two_changes_of_one_stretch_are_refused() => Assert.Throws<BadInputException>(
        () => MutantSchema.Compile(Sources, [new("twice", "test", "", [Edit("there = 60", "there = 1"), Edit("= 60", "= 2")])]));

    [Fact]
    public void A_library_that_does_not_compile_is_no_mutant() => Assert.Throws<InvalidOperationException>(
        () => MutantSchema.Compile(new(("a.cs", "class Broken { int Value() { return nowhere; } }")), []));

    private static Mutant ToThousands(string number) => new(number, "test", "", [Edit(number, $"{number}000")]);

    private static SourceEdit Edit(string there, string instead)
    {
        int at = Source.IndexOf(there, StringComparison.Ordinal);
        return new("a.cs", new TextSpan(at, there.Length), instead);
    }

    private static Dictionary<string, string> Plain() => Behaviour(MutantSchema.Compile(Sources, []), 0);

    /// <summary>What the members do, in a copy of the library in which that mutant is active.</summary>
    private static Dictionary<string, string> Behaviour(MutatedLibrary library, int number) => Run(library, number, Look);

    private static T Run<T>(MutatedLibrary library, int number, Func<Type, T> look)
    {
        Environment.SetEnvironmentVariable(MutantSchema.Variable, $"{number}");
        try
        {
            var context = new AssemblyLoadContext(null);
            Type type = context.LoadFromStream(new MemoryStream(library.Image)).GetType("Given.Members")!;
            return look(type);
        }
        finally
        {
            Environment.SetEnvironmentVariable(MutantSchema.Variable, null);
        }
    }

    private static Dictionary<string, string> Look(Type type)
    {
        dynamic Fresh(params object[] given) => Activator.CreateInstance(type, given)!;
        string Kept(Action<dynamic> act)
        {
            dynamic it = Fresh(1);
            act(it);
            return $"{it.Kept}";
        }

        object?[] given = [null];
        type.GetMethod("Out")!.Invoke(Fresh(1), given);
        return new()
        {
            ["constructed"] = $"{Fresh().Kept}",
            ["constructed with a value"] = $"{Fresh(1).Kept - Fresh(0).Kept + (Fresh(0).Kept == 20 ? 0 : 1000)}",
            ["set"] = $"{Kept(static it => it.Kept = 1)}",
            ["property"] = $"{(long)Fresh().Twice / (long)Fresh().Kept}",
            ["indexer"] = $"{Fresh()[1]}",
            ["place"] = $"{type.GetMethod("Place")!.ReturnType.IsByRef}",
            ["block"] = $"{Fresh().Block()}",
            ["nothing"] = $"{Change(static it => it.Nothing())}",
            ["arrow"] = $"{Change(static it => it.Arrow())}",
            ["several"] = string.Join(' ', (IEnumerable<int>)Fresh().Several()),
            ["nested"] = $"{Fresh().Nested()}",
            ["out"] = $"{given[0]}",
            ["refuses"] = Assert.Throws<InvalidOperationException>(() => Fresh().Refuses()).Message,
            ["operator"] = $"{(Fresh() + 1) - Fresh().Kept}",
        };

        int Change(Action<dynamic> act)
        {
            dynamic it = Fresh();
            int before = it.Kept;
            act(it);
            return it.Kept - before;
        }
    }
}
